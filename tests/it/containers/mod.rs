//! The image, and the deployment of `kube/overlays/ha` with each part in a container of its own. `scripts/e2e` prepares what
//! these tests need, and runs them.

mod backend;
mod backup;
mod deployment;
mod engine;
mod failover;
mod failures;
mod image;
mod manifests;
mod replicas;
