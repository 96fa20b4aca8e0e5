//! The manifests' check and the scripts of `kube`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

fn script(name: &str) -> Command {
    Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scripts")
            .join(name),
    )
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &*String::from_utf8_lossy(&output.stderr)
}

/// The overlay `ha`, as kustomize renders it with secrets of its own.
fn rendered() -> String {
    let folder = tempfile::tempdir().unwrap();
    let kube = Path::new(env!("CARGO_MANIFEST_DIR")).join("kube");
    assert!(
        Command::new("cp")
            .arg("-r")
            .arg(kube)
            .arg(folder.path())
            .status()
            .unwrap()
            .success()
    );
    let overlay = folder.path().join("kube/overlays/ha");
    let _ = fs::remove_file(overlay.join("secrets.env"));
    let kustomize = || {
        Command::new("kubectl")
            .arg("kustomize")
            .arg(&overlay)
            .output()
            .unwrap()
    };
    let output = kustomize();
    assert!(
        !output.status.success() && said(&output).contains("secrets.env"),
        "it renders without secrets"
    );
    assert!(
        script("gen-secrets")
            .arg(&overlay)
            .status()
            .unwrap()
            .success()
    );
    let output = kustomize();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_invalid_manifest_is_refused() {
    // What is replaced, by what, and the fault that has to be found.
    let broken = [
        // Kubernetes' own schemas.
        (
            "apiVersion: apps/v1\n",
            "apiVersion: extensions/v1beta1\n",
            "extensions/v1beta1",
        ),
        (
            "revisionHistoryLimit",
            "revisionHistryLimit",
            "revisionHistryLimit",
        ),
        ("backoffLimit: 20", "backoffLimit: many", "many"),
        ("matchLabelKeys", "matchLabelKey", "matchLabelKey"),
        ("          sleep:\n", "          slep:\n", "slep"),
        // Rights.
        (
            "pod-security.kubernetes.io/enforce: restricted",
            "pod-security.kubernetes.io/enforce: baseline",
            "enforce is not restricted",
        ),
        (
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: false",
            "readOnlyRootFilesystem",
        ),
        (
            "allowPrivilegeEscalation: false",
            "allowPrivilegeEscalation: true",
            "allowPrivilegeEscalation",
        ),
        (
            "            - ALL\n",
            "            - NET_RAW\n",
            "capabilities",
        ),
        ("runAsUser: 10001", "runAsUser: 0", "runAsUser"),
        (
            "      automountServiceAccountToken: false\n      containers",
            "      containers",
            "automountServiceAccountToken",
        ),
        // What is not there.
        (
            "serviceAccountName: polls",
            "serviceAccountName: root",
            "there is no ServiceAccount root",
        ),
        (
            "secretName: polls-secrets",
            "secretName: other",
            "there is no Secret other",
        ),
        (
            "- key: SECRET_KEY",
            "- key: SECRET_KEYS",
            "has no SECRET_KEYS",
        ),
        (
            "            name: polls-config",
            "            name: config",
            "there is no ConfigMap config",
        ),
        (
            "serviceName: polls-backend-pods",
            "serviceName: pods",
            "there is no Service pods",
        ),
        ("targetPort: http\n", "targetPort: web\n", "no port web"),
        (
            "            port: http\n          periodSeconds: 5",
            "            port: web\n          periodSeconds: 5",
            "livenessProbe asks the port web",
        ),
        (
            "polls@polls-backend-0.polls-backend-pods:5432",
            "polls@polls-backend-0.pods:5432",
            "the host polls-backend-0.pods, which is no Service",
        ),
        (
            "redis://polls-redis",
            "redis://redis",
            "the host redis, which is no Service",
        ),
        (
            "      app.kubernetes.io/name: redis\n  policyTypes",
            "      app.kubernetes.io/name: rediss\n  policyTypes",
            "no pod has the labels",
        ),
        (
            "    kind: Deployment\n    name: polls\n",
            "    kind: Deployment\n    name: poll\n",
            "there is no Deployment poll",
        ),
        // Numbers and names.
        ("containerPort: 8000", "containerPort: 99999", "99999"),
        ("memory: 256Mi", "memory: 12QQ", "12QQ"),
        (
            "imagePullPolicy: IfNotPresent",
            "imagePullPolicy: Sometimes",
            "Sometimes",
        ),
        ("image: polls:0.1.0", "image: polls:latest", "no fixed tag"),
        (
            "image: polls:0.1.0",
            "image: polls:0.2.0",
            "RELEASE is 0.1.0 in its ConfigMap, and the image's tag 0.2.0",
        ),
        // Changes without effect at the end and the beginning.
        (
            "maxUnavailable: 0",
            "maxUnavailable: 1",
            "maxUnavailable is not 0",
        ),
        (
            "terminationGracePeriodSeconds: 45",
            "terminationGracePeriodSeconds: 30",
            "terminationGracePeriodSeconds",
        ),
        (
            "path: /readyz",
            "path: /livez",
            "readinessProbe does not ask /readyz",
        ),
        (
            "failureThreshold: 30\n          httpGet",
            "failureThreshold: 3\n          httpGet",
            "startupProbe gives up",
        ),
        (
            "  maxUnavailable: 1\n  selector",
            "  minAvailable: 1\n  selector",
            "minAvailable",
        ),
        (
            "  unhealthyPodEvictionPolicy: AlwaysAllow\n",
            "",
            "unhealthyPodEvictionPolicy is not AlwaysAllow",
        ),
        (
            "          terminationGracePeriodSeconds: 5\n",
            "",
            "a process that hangs is restarted after 63 s",
        ),
        (
            "  revisionHistoryLimit: 5\n",
            "  replicas: 1\n  revisionHistoryLimit: 5\n",
            "replicas must not be there",
        ),
        (
            "app.kubernetes.io/version: 0.1.0\n",
            "app.kubernetes.io/release: 0.1.0\n",
            "it has no label app.kubernetes.io/version",
        ),
        (
            "shared_buffers = '128MB'",
            "shared_buffers = '900MB'",
            "its buffers, connections and /dev/shm need 1828 MiB",
        ),
        (
            "  - metadata:\n      name: data\n",
            "  - metadata:\n      labels: {a: b}\n      name: data\n",
            "volumeClaimTemplates cannot be changed later",
        ),
        // Doors.
        (
            "spec:\n  ports:\n  - name: http\n",
            "spec:\n  type: NodePort\n  ports:\n  - name: http\n",
            "NodePort",
        ),
        (
            "  podSelector: {}\n  policyTypes:\n  - Ingress\n  - Egress\n",
            "  podSelector: {}\n  policyTypes:\n  - Egress\n",
            "no NetworkPolicy denies",
        ),
        (
            "postgres://polls@",
            "postgres://polls:123abcde@",
            "has a password in it",
        ),
        (
            "LOG_FORMAT: json",
            "DATABASE_PASSWORD: 9fK2",
            "belongs into a Secret",
        ),
        (
            "  tls:\n  - hosts:\n    - polls.example.com\n    secretName: polls-tls\n",
            "",
            "does not speak HTTPS",
        ),
        // Unnecessary privileges, and what the API server refuses.
        ("kind: PodDisruptionBudget", "kind: CronJob", "CronJob"),
        (
            "enableServiceLinks: false",
            "enableServiceLinks: true",
            "enableServiceLinks",
        ),
        (
            "          capabilities:\n",
            "          privileged: true\n          capabilities:\n",
            "privileged",
        ),
        (
            "containerPort: 8000",
            "containerPort: 8000\n          hostPort: 80",
            "hostPort",
        ),
        (
            "restartPolicy: OnFailure",
            "restartPolicy: Always",
            "restartPolicy",
        ),
        (
            "memory: 48Mi",
            "memory: 1Gi",
            "more memory than it may have",
        ),
        (
            "mountPath: /run/secrets/polls",
            "mountPath: run/secrets/polls",
            "not absolute",
        ),
        (
            "  name: polls-standby\n  namespace",
            "  name: polls-backend\n  namespace",
            "several of this name",
        ),
        (
            "maxUnavailable: 1\n  selector",
            "maxUnavailable: 0\n  selector",
            "stops the draining",
        ),
        (
            "maxReplicas: 10",
            "maxReplicas: 60",
            "too many for max_connections",
        ),
        (
            "value: /run/secrets/polls/SECRET_KEY",
            "value: /run/SECRET_KEY",
            "no Secret is mounted",
        ),
        // Settings for a developer's machine.
        ("LOG_FORMAT: json", "DEBUG: \"true\"", "DEBUG is not safe"),
        (
            "ALLOWED_HOSTS: polls.example.com",
            "ALLOWED_HOSTS: '*'",
            "ALLOWED_HOSTS is not safe",
        ),
        (
            "TRUSTED_PROXIES: 10.244.0.0/16",
            "TRUSTED_PROXIES: 0.0.0.0/0",
            "TRUSTED_PROXIES is not safe",
        ),
        // Ways that are not there, or open to all.
        ("    - port: 5432\n", "    - port: 5433\n", "at port 5432"),
        ("    - port: 6379\n", "    - port: 6380\n", "at port 6379"),
        ("    - port: 53\n", "    - port: 54\n", "ask for names"),
        (
            "  - from:\n    - podSelector:\n        matchLabels:\n",
            "  - from:\n    - namespaceSelector: {}\n    - podSelector:\n        matchLabels:\n",
            "admits all pods",
        ),
        (
            "    - polls.example.com\n    secretName",
            "    - www.example.com\n    secretName",
            "routes others",
        ),
    ];
    let (good, folder) = (rendered(), tempfile::tempdir().unwrap());
    let file = folder.path().join("ha.yaml");
    fs::write(&file, &good).unwrap();
    let output = script("kube-check").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // All in one process, which names the file with each fault.
    let mut check = script("kube-check");
    for (index, (from, to, _)) in broken.iter().enumerate() {
        assert!(good.contains(from), "{from:?} is not in the manifests");
        let file = folder.path().join(format!("{index}.yaml"));
        fs::write(&file, good.replace(from, to)).unwrap();
        check.arg(file);
    }
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let faults = said(&output);
    for (index, (_, to, fault)) in broken.iter().enumerate() {
        let of_file = format!("{index}.yaml: ");
        let mut faults = faults.lines().filter(|line| line.starts_with(&of_file));
        assert!(
            faults.any(|line| line.contains(fault)),
            "{to:?}: {fault} is not among the faults"
        );
    }
}

#[test]
fn secrets_are_random_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let kustomization = folder.path().join("kustomization.yaml");
    fs::write(&kustomization, "resources: [../minikube]").unwrap();
    let output = script("gen-secrets").arg(folder.path()).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("no secrets of its own"));
    fs::write(&kustomization, "envs: [secrets.env]").unwrap();
    let file = folder.path().join("secrets.env");
    let make = || script("gen-secrets").arg(folder.path()).output().unwrap();
    let output = script("gen-secrets")
        .arg("--dry-run")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success() && !file.exists());

    assert!(make().status.success());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read_to_string(&file).unwrap();
    let values: Vec<_> = first
        .lines()
        .map(|line| line.split_once('=').unwrap().1)
        .collect();
    // 32 bytes in base64, each another.
    assert!(
        values.len() == 4 && values.iter().all(|value| value.len() >= 43),
        "{values:?}"
    );
    assert!((1..4).all(|index| !values[..index].contains(&values[index])));

    let again = make();
    assert!(
        !again.status.success() && said(&again).contains("exists already"),
        "{}",
        said(&again)
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), first);
    fs::remove_file(&file).unwrap();
    assert!(make().status.success());
    let second = fs::read_to_string(&file).unwrap();
    assert_ne!(second, first);

    // The old password stays beside the new one, and the one before does not.
    let rotate = || {
        script("gen-secrets")
            .arg("--rotate")
            .arg(folder.path())
            .output()
            .unwrap()
    };
    let value = |text: &str, key: &str| {
        let mut values = text
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{key}=")));
        values.next().unwrap_or_default().to_owned()
    };
    let mut before = second;
    for number in 0..2 {
        if number > 0 {
            // PostgreSQL has the password a few minutes later.
            let output = rotate();
            assert!(
                !output.status.success() && said(&output).contains("less than five minutes ago")
            );
            let past = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
            fs::File::options()
                .append(true)
                .open(&file)
                .unwrap()
                .set_modified(past)
                .unwrap();
        }
        let output = rotate();
        assert!(output.status.success(), "{}", said(&output));
        let after = fs::read_to_string(&file).unwrap();
        assert_eq!(
            value(&after, "DATABASE_PASSWORD_PREVIOUS"),
            value(&before, "DATABASE_PASSWORD")
        );
        assert_ne!(
            value(&after, "DATABASE_PASSWORD"),
            value(&before, "DATABASE_PASSWORD")
        );
        assert_eq!(value(&after, "SECRET_KEY"), value(&before, "SECRET_KEY"));
        assert_eq!(after.lines().count(), 5);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        before = after;
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn scripts_print_their_commands_and_usage() {
    for (name, words) in [
        (
            "minikube-up",
            "kubectl --context minikube apply -k kube/overlays/minikube",
        ),
        ("minikube-down", "minikube stop"),
        ("kube-check", "Would render"),
        ("e2e", "Would build"),
    ] {
        for _ in 0..2 {
            let output = script(name).arg("--dry-run").output().unwrap();
            assert!(
                output.status.success() && said(&output).contains(words),
                "{name}: {}",
                said(&output)
            );
        }
    }
    for name in [
        "failover",
        "restore",
        "minikube-up",
        "minikube-down",
        "kube-check",
        "e2e",
        "fuzz",
        "bench",
    ] {
        let output = script(name).arg("--nonsense").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {}", said(&output));
    }
}
