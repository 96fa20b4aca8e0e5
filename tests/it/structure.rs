//! Imports go one way: no file imports another that imports it, directly or through others, and no layer imports one above it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The layers of `src`, from the lowest. The longest prefix of a module's path counts.
const LAYERS: &[&[&str]] = &[
    &[
        "apps",
        "assets",
        "dateparse",
        "digits",
        "entities",
        "network",
        "signing",
    ],
    &["settings"],
    &["cache", "db", "telemetry", "templates"],
    &["contenttypes", "core", "introspection", "server"],
    &["sessions"],
    &["error"],
    &["web"],
    &["auth"],
    &["admin", "migrations"],
    &["fixtures", "flush"],
    &["auth/admin", "polls_app"],
    &["site"],
    &["checks", "shell"],
    &["cli"],
];

/// A module's path, without `crate`; empty for the root.
type Module = Vec<String>;

/// The paths that a file names, as they are written.
#[derive(Default)]
struct Names {
    all: Vec<Vec<String>>,
    /// Those of `pub use`, by the name that they give.
    exported: BTreeMap<String, Vec<String>>,
}

impl Names {
    fn add_use(&mut self, prefix: &[String], tree: &syn::UseTree, is_exported: bool) {
        let joined = |name: &syn::Ident| {
            let mut path = prefix.to_vec();
            if name != "self" {
                path.push(name.to_string());
            }
            path
        };
        let (name, path) = match tree {
            syn::UseTree::Path(tree) => {
                return self.add_use(&joined(&tree.ident), &tree.tree, is_exported);
            }
            syn::UseTree::Group(group) => {
                let items = group.items.iter();
                return items.for_each(|tree| self.add_use(prefix, tree, is_exported));
            }
            syn::UseTree::Name(tree) => (tree.ident.to_string(), joined(&tree.ident)),
            syn::UseTree::Rename(tree) => (tree.rename.to_string(), joined(&tree.ident)),
            syn::UseTree::Glob(_) => ("*".to_owned(), prefix.to_vec()),
        };
        if is_exported {
            self.exported.insert(name, path.clone());
        }
        self.all.push(path);
    }

    /// The paths in the arguments of a macro, which are not parsed.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        path.clear();
                    }
                    path.push(name.to_string());
                    colons = 0;
                    if path.len() > 1 {
                        self.all.push(path.clone());
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    path.clear();
                    self.add_tokens(group.stream());
                }
                _ => path.clear(),
            }
        }
    }
}

impl<'a> Visit<'a> for Names {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        // The tests of a file may use what they like.
        if !module
            .attrs
            .iter()
            .any(|attribute| attribute.path().is_ident("cfg"))
        {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let is_exported = !matches!(item.vis, syn::Visibility::Inherited);
        self.add_use(&[], &item.tree, is_exported);
    }

    // `pub(in crate::admin)` imports nothing.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.segments.len() > 1 {
            let names = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            self.all.push(names.collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// The modules of a crate.
struct Modules(BTreeMap<Module, Names>);

impl Modules {
    fn read(root: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        let mut modules = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let relative = path.strip_prefix(&root).unwrap();
                if relative
                    .extension()
                    .is_none_or(|extension| extension != "rs")
                {
                    continue;
                }
                let mut module: Module = relative
                    .with_extension("")
                    .iter()
                    .map(|part| part.to_str().unwrap().to_owned())
                    .collect();
                if ["mod", "lib"].contains(&module.last().unwrap().as_str()) {
                    module.pop();
                }
                let mut names = Names::default();
                names.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
                modules.insert(module, names);
            }
        }
        Self(modules)
    }

    /// The module in which the last name of `path`, as it stands in `from`, is defined; none when it is another crate's.
    fn resolve(&self, from: &Module, path: &[String]) -> Option<Module> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Module::new(),
            "self" => from.clone(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            name => {
                let child = [from.as_slice(), &[name.to_owned()]].concat();
                self.0.contains_key(&child).then_some(child)?
            }
        };
        while let [next, behind @ ..] = rest {
            let child = [at.as_slice(), std::slice::from_ref(next)].concat();
            if next == "super" {
                at.pop();
            } else if self.0.contains_key(&child) {
                at = child;
            } else {
                let exported = self.0.get(&at)?.exported.get(next);
                let defined = exported.and_then(|path| self.resolve(&at, path));
                return Some(defined.unwrap_or(at));
            }
            rest = behind;
        }
        self.0.contains_key(&at).then_some(at)
    }

    /// The modules that each imports.
    fn imports(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let imports = self.0.iter().map(|(module, names)| {
            let resolved = names
                .all
                .iter()
                .filter_map(|path| self.resolve(module, path));
            (module, resolved.filter(|other| other != module).collect())
        });
        imports.collect()
    }
}

/// Those modules that can be reached from themselves, each with what it imports of the others.
fn circles(imports: &BTreeMap<&Module, BTreeSet<Module>>) -> Vec<String> {
    let reachable = |from: &Module| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            let others = imports.get(&module).into_iter().flatten();
            next.extend(
                others
                    .filter(|other| reached.insert((*other).clone()))
                    .cloned(),
            );
        }
        reached
    };
    let reached: BTreeMap<&Module, _> = imports
        .keys()
        .map(|module| (*module, reachable(module)))
        .collect();
    let circular = imports.iter().flat_map(|(module, others)| {
        let back = others
            .iter()
            .filter(|other| reached[*other].contains(*module));
        back.map(|other| format!("{} imports {}", module.join("/"), other.join("/")))
    });
    circular.collect()
}

fn layer(module: &Module) -> Option<usize> {
    let path = module.join("/");
    let is_below = |prefix: &str| path == prefix || path.starts_with(&format!("{prefix}/"));
    let layers = LAYERS.iter().enumerate().flat_map(|(number, prefixes)| {
        let found = prefixes.iter().filter(|prefix| is_below(prefix));
        found.map(move |prefix| (prefix.len(), number))
    });
    layers.max().map(|(_, number)| number)
}

#[test]
fn files_have_no_circular_imports() {
    for root in ["src", "migration/src"] {
        let modules = Modules::read(root);
        let imports = modules.imports();
        // The reader of the files sees what it should.
        assert!(imports.values().map(BTreeSet::len).sum::<usize>() > imports.len());
        let found = circles(&imports);
        assert!(found.is_empty(), "circles in {root}:\n{}", found.join("\n"));
    }
}

#[test]
fn layers_import_only_lower_layers() {
    let modules = Modules::read("src");
    let mut found = Vec::new();
    for (module, others) in modules.imports() {
        if module.is_empty() || *module == ["main"] {
            continue;
        }
        let own = layer(module).unwrap_or_else(|| panic!("{} is in no layer", module.join("/")));
        let above = others
            .iter()
            .filter(|other| layer(other).is_some_and(|other| other > own));
        found
            .extend(above.map(|other| format!("{} imports {}", module.join("/"), other.join("/"))));
    }
    assert!(
        found.is_empty(),
        "imports of a layer above:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_circle_is_found() {
    let module = |name: &str| vec![name.to_owned()];
    let (a, b, c) = (module("a"), module("b"), module("c"));
    let imports = BTreeMap::from([
        (&a, BTreeSet::from([b.clone()])),
        (&b, BTreeSet::from([a.clone(), c.clone()])),
        (&c, BTreeSet::new()),
    ]);
    assert_eq!(circles(&imports), ["a imports b", "b imports a"]);
}
