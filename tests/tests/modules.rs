//! Files depend on each other one way, within every crate: whoever imports from a file stands above it. A circle of
//! imports means that something shared has no file of its own.
//!
//! What counts: paths that name an item of another file, in `use` and elsewhere, through re-exports. What does not:
//! tests, and a module that re-exports what its own submodules define.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

/// The path of a module: `["gateway", "rest"]`; empty for the crate's root.
type ModulePath = Vec<String>;

/// A module with a file of its own.
#[derive(Default)]
struct Module {
    /// Paths that its file names, as they are written.
    paths: BTreeSet<Vec<String>>,
    /// Names that it imports, with what each stands for.
    imports: BTreeMap<String, Vec<String>>,
    /// Imports for others, which are no use of the module's own.
    exports: BTreeSet<Vec<String>>,
}

/// The modules of one crate.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    /// Reads the file of a module, and the files of the modules that it declares.
    fn read(&mut self, file: &Path, path: ModulePath) -> Result<()> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        for name in self.add(&text, path.clone())? {
            let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
                Some("lib" | "main" | "mod") => file.parent().context("a file without a folder")?.to_owned(),
                _ => file.with_extension(""),
            };
            let flat = folder.join(format!("{name}.rs"));
            let nested = folder.join(&name).join("mod.rs");
            let file = if flat.exists() { flat } else { nested };
            self.read(&file, [path.clone(), vec![name]].concat())?;
        }
        Ok(())
    }

    /// Adds a module by its text; gives back the modules that it declares.
    fn add(&mut self, text: &str, path: ModulePath) -> Result<Vec<String>> {
        let mut collect = Collect::default();
        collect.visit_file(&syn::parse_file(text)?);
        self.modules.insert(path, collect.module);
        Ok(collect.declared)
    }

    /// The module whose file defines what a path names, seen from a module; none for other crates.
    fn definer(&self, from: &[String], path: &[String], depth: usize) -> Option<ModulePath> {
        let (first, mut rest) = path.split_first()?;
        let mut absolute = from.to_owned();
        match first.as_str() {
            "crate" => absolute.clear(),
            "self" => {}
            "super" => {
                absolute.pop();
                while let Some((_, after)) = rest.split_first().filter(|(next, _)| *next == "super") {
                    absolute.pop();
                    rest = after;
                }
            }
            _ => {
                absolute.push(first.clone());
                if !self.modules.contains_key(&absolute) {
                    return None;
                }
            }
        }
        while let Some((next, after)) = rest.split_first() {
            absolute.push(next.clone());
            if self.modules.contains_key(&absolute) {
                rest = after;
                continue;
            }
            absolute.pop();
            let imported = self.modules.get(&absolute)?.imports.get(next);
            return match imported.filter(|_| depth < 8) {
                Some(other) => {
                    let other = [other.as_slice(), after].concat();
                    self.definer(&absolute, &other, depth + 1)
                }
                None => Some(absolute),
            };
        }
        Some(absolute)
    }

    /// From each module to those whose files it needs.
    fn needs(&self) -> BTreeMap<String, BTreeSet<String>> {
        let name = |path: &ModulePath| match path.as_slice() {
            [] => "the root".to_owned(),
            path => path.join("::"),
        };
        let needed = |path: &ModulePath, module: &Module| {
            let used = module.paths.iter().filter_map(|used| self.definer(path, used, 0));
            let exported = module.exports.iter().filter_map(|used| self.definer(path, used, 0));
            let above = exported.filter(|definer| !definer.starts_with(path));
            used.chain(above)
                .filter(|definer| definer != path)
                .map(|definer| name(&definer))
                .collect()
        };
        let modules = self.modules.iter();
        modules
            .map(|(path, module)| (name(path), needed(path, module)))
            .collect()
    }
}

/// Collects what a file names.
#[derive(Default)]
struct Collect {
    module: Module,
    declared: Vec<String>,
}

impl Collect {
    fn import(&mut self, tree: &UseTree, before: &[String], exported: bool) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(path.ident.to_string()), exported),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before, exported)),
            UseTree::Name(name) if name.ident == "self" => {
                let name = before.last().cloned().unwrap_or_default();
                self.imported(name, before.to_owned(), exported);
            }
            UseTree::Name(name) => self.imported(name.ident.to_string(), with(name.ident.to_string()), exported),
            UseTree::Rename(name) => self.imported(name.rename.to_string(), with(name.ident.to_string()), exported),
            UseTree::Glob(_) => self.imported("*".to_owned(), before.to_owned(), exported),
        }
    }

    fn imported(&mut self, name: String, path: Vec<String>, exported: bool) {
        self.module.imports.insert(name, path.clone());
        let kind = if exported {
            &mut self.module.exports
        } else {
            &mut self.module.paths
        };
        kind.insert(path);
    }
}

impl<'ast> Visit<'ast> for Collect {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        match item.content {
            Some(_) => visit::visit_item_mod(self, item),
            None => self.declared.push(item.ident.to_string()),
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let exported = !matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, &[], exported);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string());
            self.module.paths.insert(segments.collect());
        }
        visit::visit_path(self, path);
    }

    /// The arguments of most macros are expressions.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let list = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        if let Ok(arguments) = item.parse_body_with(list) {
            arguments.iter().for_each(|argument| self.visit_expr_owned(argument));
        }
        visit::visit_macro(self, item);
    }
}

impl Collect {
    /// An expression that lives shorter than the file.
    fn visit_expr_owned(&mut self, expr: &syn::Expr) {
        let mut inner = Collect::default();
        inner.visit_expr(expr);
        self.module.paths.extend(inner.module.paths);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test") || condition.starts_with("all(test")
        }
        _ => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Those that are in circles, or that lie between circles.
fn circles(needs: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    let mut left = needs.clone();
    loop {
        let before = left.len();
        // whoever needs nothing that is left, and whoever is needed by nothing that is left
        let names: BTreeSet<String> = left.keys().cloned().collect();
        left.retain(|_, needed| needed.iter().any(|name| names.contains(name)));
        let needed: BTreeSet<String> = left.values().flatten().cloned().collect();
        left.retain(|name, _| needed.contains(name));
        if left.len() == before {
            let names: BTreeSet<String> = left.keys().cloned().collect();
            left.values_mut()
                .for_each(|needed| needed.retain(|name| names.contains(name)));
            return left;
        }
    }
}

/// The roots of the workspace's libraries, by package.
fn libraries() -> Result<BTreeMap<String, PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let manifest: toml::Value = toml::from_str(&std::fs::read_to_string(root.join("Cargo.toml"))?)?;
    let members = manifest["workspace"]["members"].as_array().context("no members")?;
    let members = members.iter().filter_map(|member| member.as_str());
    Ok(members
        .map(|member| (member.to_owned(), root.join(member).join("src/lib.rs")))
        .collect())
}

/// The crates that each crate may depend on: what stands above knows what stands below, and nothing else.
const MAY_NEED: [(&str, &[&str]); 18] = [
    ("operators/causes", &[]),
    ("operators/values", &[]),
    ("operators", &["values"]),
    ("ingest/http_server", &["causes"]),
    ("ingest", &["causes", "values"]),
    ("ingest/bridge", &["causes", "gateway", "ingest"]),
    ("ingest/gateway", &["causes", "http_server", "ingest"]),
    ("dataflows", &["operators"]),
    ("sinks", &["causes", "values"]),
    (
        "bin/api",
        &[
            "causes",
            "dataflows",
            "engine",
            "http_server",
            "ingest",
            "operators",
            "sinks",
        ],
    ),
    ("bin/engine", &["causes", "dataflows", "ingest", "operators", "sinks"]),
    (
        "bin/export",
        &["causes", "dataflows", "engine", "ingest", "operators", "sinks"],
    ),
    ("bin/page", &["http_server"]),
    ("bin/servers", &[]),
    (
        "bin/verify",
        &["causes", "dataflows", "engine", "ingest", "operators", "sinks"],
    ),
    ("bin/workload", &["causes", "ingest", "sinks"]),
    (
        "bin",
        &[
            "api",
            "bridge",
            "causes",
            "dataflows",
            "engine",
            "export",
            "gateway",
            "http_server",
            "ingest",
            "operators",
            "page",
            "servers",
            "sinks",
            "verify",
            "workload",
        ],
    ),
    ("tests", &["dataflows", "operators", "servers", "sinks", "workload"]),
];

#[test]
fn crates_know_what_stands_below_them_alone() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let folder = |member: &'static str| member.rsplit('/').next().unwrap_or(member);
    let ours: Vec<&str> = MAY_NEED
        .iter()
        .map(|(member, _)| folder(member))
        .chain(["pinflow"])
        .collect();
    assert_eq!(libraries()?.len(), MAY_NEED.len(), "a crate is not in the list");
    for (member, may_need) in MAY_NEED {
        let manifest: toml::Value = toml::from_str(&std::fs::read_to_string(root.join(member).join("Cargo.toml"))?)?;
        let dependencies = manifest["dependencies"].as_table().context("no dependencies")?;
        let needed = dependencies.keys().filter(|name| ours.contains(&name.as_str()));
        let surplus: Vec<&String> = needed.filter(|name| !may_need.contains(&name.as_str())).collect();
        assert!(surplus.is_empty(), "{member} depends on {surplus:?}");
    }
    Ok(())
}

#[test]
fn files_import_one_way() -> Result<()> {
    let libraries = libraries()?;
    assert!(libraries.len() >= 6, "{libraries:?}");
    let mut wrong = Vec::new();
    for (name, file) in libraries {
        let mut library = Crate::default();
        library.read(&file, Vec::new())?;
        for (module, needed) in circles(&library.needs()) {
            let needed: Vec<_> = needed.into_iter().collect();
            wrong.push(format!("{name}: {module} needs {}", needed.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "circles of imports:\n{}", wrong.join("\n"));
    Ok(())
}

/// The circles of a crate of files with such texts.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let mut library = Crate::default();
    for (path, text) in files {
        let path = path.split("::").filter(|part| !part.is_empty()).map(str::to_owned);
        library.add(text, path.collect()).unwrap();
    }
    circles(&library.needs()).into_keys().collect()
}

#[test]
fn circles_are_found_however_they_are_written() {
    let root = ("", "mod a; mod b; pub use a::A;");
    let none: [String; 0] = [];
    assert_eq!(circles_of(&[root, ("a", "use super::b::B;"), ("b", "")]), none);
    let both = ["a", "b"];
    let a = ("a", "use crate::b::{self, B}; pub struct A;");
    assert_eq!(circles_of(&[root, a, ("b", "use super::a::A;")]), both);
    // through a re-export, by a path without `use`, in a macro, by a renamed import
    assert_eq!(circles_of(&[root, a, ("b", "use crate::A;")]), both);
    assert_eq!(circles_of(&[root, a, ("b", "fn f() { crate::a::g() }")]), both);
    assert_eq!(circles_of(&[root, a, ("b", "fn f() { vec![crate::a::g()]; }")]), both);
    assert_eq!(circles_of(&[root, a, ("b", "use crate::a as c;")]), both);
    // tests may look at whatever they like
    assert_eq!(
        circles_of(&[root, a, ("b", "#[cfg(test)] mod tests { use crate::a::A; }")]),
        none
    );
    // a module that uses its submodule, which uses the module; one that only hands it on
    let files = [("", "mod a;"), ("a", "mod b; use b::B;"), ("a::b", "use super::A;")];
    assert_eq!(circles_of(&files), ["a", "a::b"]);
    let files = [("", "mod a;"), ("a", "mod b; pub use b::B;"), ("a::b", "use super::A;")];
    assert_eq!(circles_of(&files), none);
}
