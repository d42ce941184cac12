//! Where obtained things lie, and how one is made complete exactly once.

use super::account::{is_root, reachable};
use super::command::progress;
use super::{Error, Result};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A directory of obtained things. Each has its own directory, beside its lock file.
#[derive(Clone, Debug)]
pub(super) struct Store(PathBuf);

/// `target/lab` of this build, where everything that is obtained lies, and what the lab writes for other programs.
pub(crate) fn directory() -> PathBuf {
    Store::of_this_build().0
}

/// One thing to obtain.
pub(super) struct Item<'a> {
    /// The name of its directory.
    pub(super) name: &'a str,
    /// What a person calls it.
    pub(super) title: &'a str,
    /// All that its content depends on, such as versions; when this changes, it is obtained anew.
    pub(super) recipe: &'a str,
    /// A file in it without which it is of no use.
    pub(super) product: &'a str,
}

impl Store {
    /// `target/lab` of this build.
    pub(super) fn of_this_build() -> Self {
        Self(target_directory().join("lab"))
    }

    /// A store whose content servers can run; see [`account`](super::account).
    ///
    /// # Errors
    /// If it has to lie in `/var/tmp`, and the directory there is not ours alone to write.
    pub(super) fn for_servers() -> Result<Self> {
        let usual = Self::of_this_build();
        create_public(&usual.0)?;
        if reachable(&usual.0) {
            return Ok(usual);
        }
        // Kept between runs, unlike /tmp. Anybody can make a directory of this name, with programs of theirs in it.
        let shared = PathBuf::from("/var/tmp/lockstep-lab-root");
        create_public(&shared)?;
        let found = fs::symlink_metadata(&shared).map_err(Error::io("examine", &shared))?;
        if found.is_dir() && found.uid() == 0 && found.mode() & 0o022 == 0 {
            return Ok(Self(shared));
        }
        Err(Error::Unavailable {
            what: "a directory for database servers".to_owned(),
            found: format!("{} can be written by others than root", shared.display()),
            remedy: "Remove it, or run as an ordinary user".to_owned(),
        })
    }

    #[cfg(test)]
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The directory of `item`, which `build` fills if no earlier call did.
    ///
    /// It is built where it stays, because a virtual environment and a patched program hold their own path. A stamp, written
    /// last, says that it is complete; without the stamp it is removed and built again. A lock file keeps other threads and
    /// processes out meanwhile, and the system releases the lock when its holder ends, in whatever way.
    ///
    /// # Errors
    /// Whatever `build` returns, and [`Error::Io`].
    pub(super) fn obtain(&self, item: &Item<'_>, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let destination = self.0.join(item.name);
        // The path is part of it: a store that was moved, as caches of CI are, holds programs that do not start.
        let stamp = format!("{}\n{}\n", item.recipe, destination.display());
        let complete = || {
            fs::read_to_string(stamp_of(&destination)).is_ok_and(|found| found == stamp)
                && destination.join(item.product).exists()
        };
        if complete() {
            return Ok(destination);
        }
        create_public(&self.0)?;
        let _lock = self.lock(item)?;
        if complete() {
            return Ok(destination);
        }
        remove(&destination)?;
        create_public(&destination)?;
        progress(&format!("{}: obtaining it, once", item.title));
        let start = Instant::now();
        if let Err(error) = build(&destination) {
            // The first error is the one to tell; what stays behind has no stamp.
            let _ = remove(&destination);
            return Err(error);
        }
        let path = stamp_of(&destination);
        fs::write(&path, stamp).map_err(Error::io("write", &path))?;
        progress(&format!("{}: ready after {:.0} s", item.title, start.elapsed().as_secs_f64()));
        Ok(destination)
    }

    fn lock(&self, item: &Item<'_>) -> Result<File> {
        let path = self.0.join(format!("{}.lock", item.name));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                progress(&format!("{}: another process is obtaining it; waiting", item.title));
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }
}

fn stamp_of(destination: &Path) -> PathBuf {
    destination.join(".complete")
}

/// Creates a directory and its parents so that servers under another account can reach into it, whatever the umask.
pub(super) fn create_public(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(Error::io("create", path))?;
    if is_root() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Error::io("open up", path))?;
    }
    Ok(())
}

/// Removes a directory and all in it, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Cargo's target directory: the one that this program was built in, which cargo marks with a `CACHEDIR.TAG`.
fn target_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    const ITEM: Item<'_> = Item { name: "thing", title: "Thing", recipe: "1", product: "file" };

    fn fill(directory: &Path) -> Result<()> {
        fs::write(directory.join("file"), "content").map_err(Error::io("write", directory))
    }

    #[test]
    fn several_at_once_build_one() {
        let directory = tempfile::tempdir().unwrap();
        let built = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let build = |path: &Path| {
                        built.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(100));
                        fill(path)
                    };
                    let path = Store::at(directory.path()).obtain(&ITEM, build).unwrap();
                    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "content");
                });
            }
        });
        assert_eq!(built.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_was_left_half_made_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        fs::create_dir(directory.path().join("thing")).unwrap();
        fs::write(directory.path().join("thing/file"), "half").unwrap();
        fs::write(directory.path().join("thing/left-over"), "").unwrap();
        let path = store.obtain(&ITEM, fill).unwrap();
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "content");
        assert!(!path.join("left-over").exists());
    }

    #[test]
    fn a_failed_build_leaves_nothing_and_its_error_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        let broken = |path: &Path| {
            fill(path)?;
            Err(Error::io("fetch", path)(io::Error::other("the line is dead")))
        };
        assert!(store.obtain(&ITEM, broken).unwrap_err().to_string().ends_with("the line is dead"));
        assert!(!directory.path().join("thing").exists());
    }

    #[test]
    fn a_new_recipe_a_moved_store_and_a_lost_product_are_built_anew() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(&directory.path().join("a"));
        let refuse = |_: &Path| -> Result<()> { panic!("built again") };
        let path = store.obtain(&ITEM, fill).unwrap();
        store.obtain(&ITEM, refuse).unwrap();

        let times = AtomicUsize::new(0);
        let count = |path: &Path| {
            times.fetch_add(1, Ordering::SeqCst);
            fill(path)
        };
        store.obtain(&Item { recipe: "2", ..ITEM }, count).unwrap();
        fs::remove_file(path.join("file")).unwrap();
        store.obtain(&Item { recipe: "2", ..ITEM }, count).unwrap();
        fs::rename(directory.path().join("a"), directory.path().join("b")).unwrap();
        Store::at(&directory.path().join("b")).obtain(&Item { recipe: "2", ..ITEM }, count).unwrap();
        assert_eq!(times.load(Ordering::SeqCst), 3);
    }
}
