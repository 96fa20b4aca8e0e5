//! A load balancer in front of servers: haproxy.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::Site;

pub struct Haproxy {
    child: Child,
    socket: PathBuf,
}

impl Haproxy {
    /// Starts it on `port` in front of named servers on these ports; it asks each for `check` five times a second.
    pub fn start(site: &Site, port: u16, check: &str, servers: &[(&str, u16)]) -> Self {
        let socket = site.folder().join("haproxy.sock");
        let mut config = format!(
            "global\n stats socket {} level admin\n\
             defaults\n mode http\n timeout connect 2s\n timeout client 60s\n timeout server 60s\n timeout check 5s\n option redispatch\n retries 3\n\
             frontend front\n bind 127.0.0.1:{port}\n default_backend polls\n\
             backend polls\n balance roundrobin\n option httpchk\n http-check send meth GET uri {check} hdr Host 127.0.0.1\n option forwardfor\n \
             default-server check inter 200ms fall 1 rise 1\n",
            socket.display()
        );
        for (name, port) in servers {
            config += &format!(" server {name} 127.0.0.1:{port}\n");
        }
        let path = site.folder().join("haproxy.cfg");
        std::fs::write(&path, config).unwrap();
        let child = Command::new("/usr/sbin/haproxy")
            .args(["-db", "-f"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is not installed: run scripts/test, which installs it");
        Self { child, socket }
    }

    /// Sends a command to its runtime API, and gives the answer.
    pub fn command(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
