//! The manifests as they are rendered, and what docker needs to run a pod of them.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::engine::{IMAGE, SERVICES, Volume};

/// The overlay `ha`, with secrets of its own.
pub struct Manifests {
    objects: Vec<Value>,
    folder: TempDir,
}

impl Manifests {
    /// Renders it, without the site's name and HTTPS: the tests have no DNS entry and no certificate.
    pub fn render() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        run(Command::new("cp")
            .arg("-r")
            .arg(root.join("kube"))
            .arg(folder.path()));
        let overlays = folder.path().join("kube/overlays");
        let _ = fs::remove_file(overlays.join("ha/secrets.env"));
        run(Command::new(root.join("scripts/gen-secrets")).arg(overlays.join("ha")));
        fs::create_dir(overlays.join("e2e")).unwrap();
        let kustomization = format!(
            "namespace: polls\nresources: [../ha]\ncomponents: [../../components/backup]\n\
             images:\n- {{name: polls, newName: {}, newTag: {}}}\n\
             - {{name: postgres, newName: {SERVICES}, newTag: latest}}\n\
             - {{name: polls-barman, newName: {SERVICES}, newTag: latest}}\n\
             - {{name: redis, newName: {SERVICES}, newTag: latest}}\n\
             configMapGenerator:\n- name: polls-config\n  namespace: polls\n  behavior: merge\n  literals:\n  \
             - ALLOWED_HOSTS=*\n  - DATABASE_OUTAGE_TOLERANCE=2\n  - SECURE_SSL_REDIRECT=false\n  - SESSION_COOKIE_SECURE=false\n  - CSRF_COOKIE_SECURE=false\n  \
             - TRUSTED_PROXIES=172.16.0.0/12,192.168.0.0/16\n",
            IMAGE.split_once(':').unwrap().0,
            IMAGE.split_once(':').unwrap().1,
        );
        fs::write(overlays.join("e2e/kustomization.yaml"), kustomization).unwrap();
        let rendered = run(Command::new("kubectl")
            .arg("kustomize")
            .arg(overlays.join("e2e")));
        let objects = rendered
            .split("\n---\n")
            .map(|object| serde_saphyr::from_str(object).unwrap())
            .collect();
        Self { objects, folder }
    }

    fn find(&self, kind: &str, name: &str) -> &Value {
        let is_it = |object: &&Value| {
            object["kind"] == kind
                && object["metadata"]["name"]
                    .as_str()
                    .unwrap()
                    .starts_with(name)
        };
        let found = self.objects.iter().find(is_it);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// What a `Secret` or a `ConfigMap` says.
    pub fn data(&self, kind: &str, name: &str) -> BTreeMap<String, String> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let decode = |value: &Value| {
            let text = value.as_str().unwrap();
            match kind {
                // A long one has several lines.
                "Secret" => {
                    String::from_utf8(STANDARD.decode(text.replace('\n', "")).unwrap()).unwrap()
                }
                _ => text.to_owned(),
            }
        };
        let data = self.find(kind, name)["data"].as_object().unwrap();
        data.iter()
            .map(|(name, value)| (name.clone(), decode(value)))
            .collect()
    }

    /// The names of the first pod of a workload: those of the Services that lead to it, and of a `StatefulSet` its own.
    pub fn names(&self, kind: &str, name: &str) -> Vec<String> {
        let labels = &self.find(kind, name)["spec"]["template"]["metadata"]["labels"];
        let selects = |object: &&Value| {
            let selector = object["spec"]["selector"].as_object();
            object["kind"] == "Service"
                && selector
                    .is_some_and(|all| all.iter().all(|(name, value)| labels[name] == *value))
        };
        let services = self.objects.iter().filter(selects);
        let services =
            services.map(|service| service["metadata"]["name"].as_str().unwrap().to_owned());
        let own = format!("{name}-0.polls-backend-pods");
        services
            .chain((kind == "StatefulSet").then_some(own))
            .collect()
    }

    /// What `docker create` needs to run the pod of a workload as Kubernetes would: its settings, files, rights and limits.
    /// `volume` is for what the pod claims.
    pub fn pod(&self, kind: &str, name: &str, volume: Option<&Volume>) -> Vec<String> {
        let pod = &self.find(kind, name)["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let security = &pod["securityContext"];
        let user = format!("{}:{}", security["runAsUser"], security["runAsGroup"]);
        let mut args: Vec<String> = vec!["--user".to_owned(), user.clone()];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(
            container["securityContext"]["capabilities"]["drop"][0],
            "ALL"
        );
        args.extend(
            [
                "--read-only",
                "--cap-drop",
                "ALL",
                "--security-opt",
                "no-new-privileges",
            ]
            .map(str::to_owned),
        );
        let memory = container["resources"]["limits"]["memory"].as_str().unwrap();
        args.extend([
            "--memory".to_owned(),
            memory.to_lowercase().replace('i', ""),
        ]);
        if let Some(seconds) = pod["terminationGracePeriodSeconds"].as_u64() {
            args.extend(["--stop-timeout".to_owned(), seconds.to_string()]);
        }
        for (name, value) in self.environment(container) {
            args.extend(["--env".to_owned(), format!("{name}={value}")]);
        }
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let (name, path) = (
                mount["name"].as_str().unwrap(),
                mount["mountPath"].as_str().unwrap(),
            );
            let volumes = pod["volumes"].as_array().into_iter().flatten();
            match volumes.into_iter().find(|volume| volume["name"] == name) {
                Some(volume) if !volume["emptyDir"].is_null() => {
                    args.extend([
                        "--tmpfs".to_owned(),
                        format!("{path}:rw,noexec,nosuid,mode=1777"),
                    ]);
                }
                Some(volume) if volume["persistentVolumeClaim"].is_null() => {
                    let folder = self.files(volume);
                    args.extend(["--volume".to_owned(), format!("{folder}:{path}:ro")]);
                }
                _ => {
                    let volume = &volume.expect("the pod claims a volume").0;
                    args.extend(["--volume".to_owned(), format!("{volume}:{path}")]);
                }
            }
        }
        let texts = |value: &Value| -> Vec<String> {
            let all = value.as_array().into_iter().flatten();
            all.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let command = texts(&container["command"]);
        if let [program, ..] = &command[..] {
            args.extend(["--entrypoint".to_owned(), program.clone()]);
        }
        args.push(container["image"].as_str().unwrap().to_owned());
        args.extend(command.into_iter().skip(1));
        args.extend(texts(&container["args"]));
        args
    }

    /// The same for a server of PostgreSQL without another one.
    pub fn alone(&self, kind: &str, name: &str, volume: &Volume) -> Vec<String> {
        let mut args = self.pod(kind, name, Some(volume));
        for arg in args.iter_mut().filter(|arg| arg.starts_with("PEER=")) {
            *arg = "PEER=".to_owned();
        }
        args
    }

    fn environment(&self, container: &Value) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for source in container["envFrom"].as_array().into_iter().flatten() {
            all.extend(self.data(
                "ConfigMap",
                source["configMapRef"]["name"].as_str().unwrap(),
            ));
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let text = |field: &str| variable[field].as_str().unwrap().to_owned();
            all.insert(text("name"), text("value"));
        }
        all
    }

    /// A folder with the files of a volume.
    fn files(&self, volume: &Value) -> String {
        let (kind, name) = match (&volume["secret"], &volume["configMap"]) {
            (Value::Null, config) => ("ConfigMap", config["name"].as_str().unwrap()),
            (secret, _) => ("Secret", secret["secretName"].as_str().unwrap()),
        };
        let items = volume["secret"]["items"].as_array();
        let is_wanted =
            |key: &str| items.is_none_or(|items| items.iter().any(|item| item["key"] == key));
        let place = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        for (key, text) in self.data(kind, name) {
            if is_wanted(&key) {
                fs::write(place.join(key), text).unwrap();
            }
        }
        place.to_str().unwrap().to_owned()
    }
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
