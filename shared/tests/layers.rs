//! The layers of every crate, read from its imports: no circle of files, and in this crate no import from a lower layer to a
//! higher one.
//!
//! An import is a `use` or a path in the code that leads to another file of the same crate. `mod` declarations, re-exports
//! (`pub use`) and what only tests need do not count. A path through a re-export leads to the file that has the item.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use syn::visit::Visit;
use syn::{Attribute, File, Item, UseTree, Visibility};

/// What each folder of `shared/src` may import, besides itself. `""` stands for the files beside the folders.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("", &["error", "aws"]),
    ("net", &["", "error"]),
    ("protocol", &["", "error"]),
    ("aws", &["", "error", "net", "protocol"]),
    ("database", &["", "error", "net", "protocol", "aws"]),
    ("page", &["", "error"]),
    ("lambda", &["", "error", "net", "protocol", "aws", "page"]),
];

/// The only files that may reach into `aws/` from a layer that otherwise knows no AWS: the one that finds a superuser's server,
/// and the one that checks the address of an AWS service that the deployer gives.
const DOORS: &[&str] = &["database/superuser.rs", "environment.rs"];

type Name = Vec<String>;

/// One file: the module that it is, and what is in it.
struct Source {
    file: String,
    module: Name,
    syntax: File,
}

/// The files of a crate, and the imports from one to the other.
struct Imports {
    files: BTreeMap<Name, String>,
    exports: BTreeMap<(Name, String), Name>,
    edges: BTreeSet<(String, String)>,
}

impl Imports {
    fn of(sources: &[Source]) -> Self {
        let files = sources.iter().map(|it| (it.module.clone(), it.file.clone())).collect();
        let mut imports = Self { files, exports: BTreeMap::new(), edges: BTreeSet::new() };
        for source in sources {
            for (exported, path) in paths(source, &imports.files, true) {
                let name = exported.unwrap_or_else(|| path.last().cloned().unwrap_or_default());
                imports.exports.insert((source.module.clone(), name), path);
            }
        }
        for source in sources {
            for (_, path) in paths(source, &imports.files, false) {
                let to = imports.home(&path, 0);
                if *to != source.file {
                    imports.edges.insert((source.file.clone(), to.to_owned()));
                }
            }
        }
        imports
    }

    /// The file that has what a path leads to.
    fn home(&self, path: &[String], depth: usize) -> &str {
        assert!(depth < 20, "re-exports that lead to one another: {path:?}");
        let mut module = Name::new();
        for (at, segment) in path.iter().enumerate() {
            let deeper: Name = module.iter().chain([segment]).cloned().collect();
            if self.files.contains_key(&deeper) {
                module = deeper;
            } else if let Some(export) = self.exports.get(&(module.clone(), segment.clone())) {
                let rest = path.iter().skip(at + 1).cloned();
                return self.home(&export.iter().cloned().chain(rest).collect::<Name>(), depth + 1);
            } else {
                break;
            }
        }
        &self.files[&module]
    }

    /// A circle of files, each of which imports the next one.
    fn circle(&self) -> Option<Vec<String>> {
        let mut done = BTreeSet::new();
        self.files.values().find_map(|file| self.circle_from(file, &mut Vec::new(), &mut done))
    }

    fn circle_from<'a>(
        &'a self,
        file: &'a str,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|known| *known == file) {
            return Some(way[start..].iter().chain([&file]).map(|it| (*it).to_owned()).collect());
        }
        if done.contains(file) {
            return None;
        }
        way.push(file);
        let next = self.edges.iter().filter(|(from, _)| from == file);
        let found = next.into_iter().find_map(|(_, to)| self.circle_from(to, way, done));
        way.pop();
        done.insert(file);
        found
    }

    /// Imports that [`LAYERS`] and [`DOORS`] do not allow.
    fn upward(&self) -> Vec<String> {
        let folder = |file: &str| file.split_once('/').map_or("", |(folder, _)| folder).to_owned();
        let mut wrong = Vec::new();
        for (from, to) in &self.edges {
            let (here, there) = (folder(from), folder(to));
            let allowed = LAYERS.iter().find(|(layer, _)| *layer == here);
            let allowed = allowed.unwrap_or_else(|| panic!("{here} is in no layer: name it in LAYERS")).1;
            let by_a_door = there != "aws" || matches!(&*here, "aws" | "lambda") || DOORS.contains(&from.as_str());
            if here != there && !(allowed.contains(&there.as_str()) && by_a_door) && from != "lib.rs" {
                wrong.push(format!("{from} imports {to}"));
            }
        }
        wrong
    }
}

/// The absolute paths within the crate that a file names. `exports`: those of its re-exports, with the new names; else all others.
fn paths(source: &Source, files: &BTreeMap<Name, String>, exports: bool) -> Vec<(Option<String>, Name)> {
    let mut found = Found { module: source.module.clone(), files, exports, paths: Vec::new() };
    found.visit_file(&source.syntax);
    found.paths
}

struct Found<'a> {
    module: Name,
    files: &'a BTreeMap<Name, String>,
    exports: bool,
    paths: Vec<(Option<String>, Name)>,
}

impl Found<'_> {
    /// A path from the crate's root; `None` if it leads out of the crate. `relative`: `use` may begin with a module of this one.
    fn absolute(&self, path: &[String], relative: bool) -> Option<Name> {
        let mut from = match path.first()?.as_str() {
            "crate" => Name::new(),
            "self" => self.module.clone(),
            "super" => self.module.clone(),
            child => {
                let module: Name = self.module.iter().cloned().chain([child.to_owned()]).collect();
                return (relative && self.files.contains_key(&module))
                    .then(|| self.module.iter().chain(path).cloned().collect());
            }
        };
        let ups = path.iter().take_while(|it| *it == "super").count();
        from.truncate(from.len().checked_sub(ups)?);
        let skip = ups.max(1);
        Some(from.into_iter().chain(path.iter().skip(skip).cloned()).collect())
    }

    fn tree(&mut self, tree: &UseTree, before: &Name) {
        let with = |segment: &syn::Ident| before.iter().cloned().chain([segment.to_string()]).collect::<Name>();
        let (renamed, path) = match tree {
            UseTree::Path(path) => return self.tree(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.tree(tree, before)),
            UseTree::Name(name) if name.ident == "self" => (None, before.clone()),
            UseTree::Name(name) => (None, with(&name.ident)),
            UseTree::Rename(name) => (Some(name.rename.to_string()), with(&name.ident)),
            UseTree::Glob(_) => (None, before.clone()),
        };
        if let Some(path) = self.absolute(&path, true) {
            self.paths.push((renamed, path));
        }
    }
}

impl<'a> Visit<'a> for Found<'_> {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_for_tests(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if self.exports != matches!(item.vis, Visibility::Inherited) {
            self.tree(&item.tree, &Name::new());
        }
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'a Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Name = path.segments.iter().map(|it| it.ident.to_string()).collect();
        if let Some(path) = self.absolute(&segments, segments.len() > 1).filter(|_| !self.exports) {
            self.paths.push((None, path));
        }
        syn::visit::visit_path(self, path);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|it| it.path().is_ident("cfg") && it.parse_args::<syn::Path>().is_ok_and(|it| it.is_ident("test")))
}

/// A file of a crate, by its path below `src`.
fn source(file: &str, text: &str) -> Source {
    let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let module = file.trim_end_matches(".rs").split('/').map(str::to_owned);
    let module = module.filter(|it| !matches!(it.as_str(), "mod" | "lib" | "main")).collect();
    Source { file: file.to_owned(), module, syntax }
}

fn sources(crate_folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(crate_folder).join("src");
    let is_library = root.join("lib.rs").exists();
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if file.ends_with(".rs") && !(is_library && file == "main.rs") {
                found.push(source(&file, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn crates() -> Vec<String> {
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    let names = fs::read_dir(functions).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let crates = names.map(|name| format!("functions/{name}"));
    crates.chain(["shared", "consumer", "lab", "integration-tests"].map(str::to_owned)).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let crates = crates();
    assert!(crates.len() >= 6, "{crates:?}");
    for one in crates {
        let imports = Imports::of(&sources(&one));
        assert!(!imports.edges.is_empty(), "{one}");
        assert_eq!(imports.circle(), None, "{one}: these files import each other");
    }
}

#[test]
fn no_layer_imports_a_higher_one() {
    let imports = Imports::of(&sources("shared"));
    assert_eq!(imports.upward(), Vec::<String>::new());
    for door in DOORS {
        let used = imports.edges.iter().any(|(from, to)| from == door && to.starts_with("aws/"));
        assert!(used, "{door} no longer imports aws/: take it out of DOORS");
    }
}

/// Each of these would be missed by a test that reads less.
#[test]
fn circles_and_imports_of_higher_layers_are_found() {
    let imports =
        |files: &[(&str, &str)]| Imports::of(&files.iter().map(|(file, text)| source(file, text)).collect::<Vec<_>>());
    let files = [
        ("lib.rs", "mod aws; mod protocol;"),
        ("aws/mod.rs", "mod client; pub use client::Client;"),
        ("aws/client.rs", "pub struct Client;"),
        ("protocol/mod.rs", "mod store; mod target; pub use store::Store;"),
        ("protocol/store.rs", "pub struct Store;"),
    ];
    let with = |target| imports(&[&files[..], &[("protocol/target.rs", target)]].concat());
    for upward in [
        "use crate::aws::Client;",
        "use crate::{aws::client::Client as Other};",
        "fn f(_: crate::aws::Client) {}",
        "fn f() { let _ = super::super::aws::client::Client; }",
    ] {
        assert_eq!(with(upward).upward(), ["protocol/target.rs imports aws/client.rs"], "{upward}");
    }
    let harmless = with("use crate::protocol::Store; #[cfg(test)] mod tests { use crate::aws::Client; }");
    assert_eq!((harmless.upward(), harmless.circle()), (Vec::new(), None));

    for (store, target) in [
        ("use crate::protocol::target::Target;", "use crate::protocol::Store; pub struct Target;"),
        ("use super::target;", "fn f(_: super::store::Store) {} pub struct Target;"),
        ("use crate::protocol::*;", "use super::store::Store;"),
    ] {
        let mod_file = "mod store; mod target; use target::Target; pub use store::Store;";
        let circle = imports(&[
            ("lib.rs", "mod protocol;"),
            ("protocol/mod.rs", mod_file),
            ("protocol/store.rs", &format!("{store} pub struct Store;")),
            ("protocol/target.rs", target),
        ]);
        assert!(circle.circle().is_some(), "{store} {target}");
    }
}
