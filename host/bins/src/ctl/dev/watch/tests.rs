//! Edits that are noticed, whatever the times of files say, and what is no edit.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::*;

/// The component of a package in Go, Python or JavaScript.
const COMPONENT: &str = "./build/component.wasm";

struct Package {
    folder: tempfile::TempDir,
    watch: Watch,
}

impl Package {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::new(folder.path());
        Package { folder, watch }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn set_modified(&self, path: &str, time: SystemTime) {
        File::options().write(true).open(self.path(path)).unwrap().set_modified(time).unwrap();
    }

    fn look(&mut self) -> Sources {
        self.watch.look(Some(Path::new(COMPONENT)))
    }

    /// The paths that `edit` changes, as the next look sees them.
    fn changed_by(&mut self, edit: impl FnOnce(&Self)) -> String {
        let before = self.look();
        assert_eq!(self.look(), before, "looking changes nothing");
        edit(self);
        changes(&before, &self.look())
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_time_in_the_future_hides_no_edit() {
    let mut package = Package::new();
    package.write("src/lib.rs", "1");
    package.write("src/other.rs", "1");
    package.set_modified("src/other.rs", at(4_000_000_000));
    assert_eq!(package.changed_by(|package| package.write("src/lib.rs", "2")), "src/lib.rs");
    assert_eq!(package.changed_by(|package| package.write("src/other.rs", "2")), "src/other.rs");
}

#[test]
fn an_older_file_in_the_place_of_another_is_an_edit() {
    let mut package = Package::new();
    package.write("src/lib.rs", "new");
    let replaced = package.changed_by(|package| {
        package.write(".old", "old");
        package.set_modified(".old", at(1_000_000_000));
        fs::rename(package.path(".old"), package.path("src/lib.rs")).unwrap();
    });
    assert_eq!(replaced, "src/lib.rs");
    // In place, of the same size, with the time that it had.
    let same_time = package.changed_by(|package| {
        let time = fs::metadata(package.path("src/lib.rs")).unwrap().modified().unwrap();
        package.write("src/lib.rs", "odd");
        package.set_modified("src/lib.rs", time);
    });
    assert_eq!(same_time, "src/lib.rs");
}

#[test]
fn sources_behind_links_are_watched() {
    let mut package = Package::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("shared")).unwrap();
    fs::write(elsewhere.path().join("shared/a.go"), "1").unwrap();
    fs::write(elsewhere.path().join("b.go"), "1").unwrap();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, package.path(name)).unwrap();
    link(&elsewhere.path().join("shared"), "shared");
    link(&elsewhere.path().join("b.go"), "b.go");
    link(&elsewhere.path().join("absent.go"), "absent.go");
    link(package.folder.path(), "circle");
    let edit = |name: &str| fs::write(elsewhere.path().join(name), "2").unwrap();
    assert_eq!(package.changed_by(|_| edit("shared/a.go")), "shared/a.go");
    assert_eq!(package.changed_by(|_| edit("b.go")), "b.go");
    assert_eq!(package.changed_by(|_| edit("absent.go")), "absent.go");
}

#[test]
fn folders_within_the_sources_may_be_called_as_builds_call_theirs() {
    let mut package = Package::new();
    for path in ["src/dist/a.js", "src/target/a.js", "build/a.go", "src/a.wasm"] {
        package.write(path, "1");
        assert_eq!(package.changed_by(|package| package.write(path, "2")), path);
    }
}

#[test]
fn files_that_come_and_go_are_edits_and_touched_ones_are_not() {
    let mut package = Package::new();
    package.write("src/a.rs", "1");
    assert_eq!(package.changed_by(|package| package.write("src/b.rs", "")), "src/b.rs");
    assert_eq!(package.changed_by(|package| fs::remove_file(package.path("src/b.rs")).unwrap()), "src/b.rs");
    let renamed = |package: &Package| fs::rename(package.path("src/a.rs"), package.path("src/c.rs")).unwrap();
    assert_eq!(package.changed_by(renamed), "src/c.rs, src/a.rs");
    assert_eq!(package.changed_by(|package| package.set_modified("src/c.rs", at(4_000_000_000))), "");
    let many = |package: &Package| (0..5).for_each(|k| package.write(&format!("src/{k}.rs"), ""));
    assert_eq!(package.changed_by(many), "src/0.rs, src/1.rs, src/2.rs and 2 more");
}

#[test]
fn what_builds_and_editors_write_is_no_edit() {
    let mut package = Package::new();
    package.write("src/a.rs", "1");
    let made = [
        "target/a",
        "dist/a.js",
        "build/component.wasm",
        "a.wasm",
        ".git/a",
        "node_modules/a/b.js",
        "src/node_modules/a",
        "src/__pycache__/a.pyc",
        "src/.a.rs.swp",
        "src/a.rs~",
        "src/#a.rs#",
    ];
    assert_eq!(package.changed_by(|package| made.iter().for_each(|path| package.write(path, "1"))), "");
}

#[test]
fn a_lock_file_that_the_build_wrote_is_no_edit_and_what_the_author_saved_meanwhile_is_one() {
    let mut package = Package::new();
    package.write("src/a.rs", "1");
    let built = package.look();
    package.write("Cargo.lock", "1");
    let known = with_locks(built.clone(), &package.look());
    assert_eq!(changes(&known, &package.look()), "");
    package.write("src/a.rs", "2");
    assert_eq!(changes(&with_locks(built, &package.look()), &package.look()), "src/a.rs");
    package.write("Cargo.lock", "2");
    assert_eq!(changes(&known, &package.look()), "Cargo.lock, src/a.rs");
}

#[test]
fn pipes_are_not_read_and_the_number_of_files_is_bounded() {
    let mut package = Package::new();
    let made = std::process::Command::new("mkfifo").arg(package.path("pipe")).status().unwrap();
    assert!(made.success());
    assert!(package.look().is_empty());
    for k in 0..FILES_MAX + 5 {
        package.write(&format!("src/{k:05}"), "");
    }
    assert_eq!(package.look().len(), FILES_MAX);
    assert!(package.watch.has_warned);
}
