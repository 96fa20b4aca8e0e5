# Sourced by the other scripts: makes sure that what they need is there.

# install PACKAGE: installs a Debian package, or says that it is needed.
install() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing $1 ..." >&2
    [ -n "${apt_updated:-}" ] || apt-get update -qq >/dev/null
    apt_updated=1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
  else
    echo "The package $1 is missing: install it (sudo apt-get install $1) and run this again." >&2
    exit 1
  fi
}

# need PROGRAM PACKAGE: installs the package if the program is not there.
need() {
  command -v "$1" >/dev/null 2>&1 || install "$2"
}

# need_rust: Debian's cargo is too old.
need_rust() {
  [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
  if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing: install Rust 1.95 or later (https://rustup.rs) and run this again." >&2
    exit 1
  fi
  need cc build-essential
}

# need_kubectl: one whose kustomize knows what the overlays use, from version 1.27 on.
need_kubectl() {
  need kubectl kubernetes-client
  if ! kubectl version --client 2>/dev/null | grep -qE 'Kustomize Version: v([5-9]|[1-9][0-9])'; then
    echo "kubectl 1.27 or later is needed: https://kubernetes.io/docs/tasks/tools/ says how to install it." >&2
    exit 1
  fi
}
