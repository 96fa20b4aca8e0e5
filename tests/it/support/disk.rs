//! A small file system for one test, which the test may fill. Needs root, as `mount` does.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// A file system of this size.
    pub fn new(mebibytes: u32) -> Self {
        let disk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let options = format!("size={mebibytes}m,mode=777");
        disk.run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]));
        disk
    }

    fn run(&self, command: &mut Command) {
        let output = command.arg(self.path()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn fill_file(&self) -> PathBuf {
        self.path().join("fill_file")
    }

    /// Takes all the space that is left.
    pub fn fill(&self) {
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(self.fill_file())
            .unwrap();
        for size in [65536, 4096, 512] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives the space back.
    pub fn free(&self) {
        fs::remove_file(self.fill_file()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server of a test that has failed may still run.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
