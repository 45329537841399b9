//! Places for results, taken before the work: a run finds out at its start that it cannot write,
//! and what it writes appears whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use simattn_data::MadeFolders;

use crate::fault;
use crate::folder_error::{FolderError, failed};

/// Names of files and folders that are not finished end with this and a process id.
const UNFINISHED: &str = ".unfinished-";

/// What `mkfs` puts into an empty file system.
const OF_THE_SYSTEM: [&str; 1] = ["lost+found"];

/// Files that readers look for first: they are put in place last.
const FIRST_READ: [&str; 7] = [
    "config.toml",
    "config.json",
    "model.safetensors",
    "index.json",
    "results.json",
    "run.json",
    "study.json",
];

/// A place for a folder of results (a model, a study): free, or an empty folder, such as a file
/// system that was mounted there.
///
/// At a free place the folder is written under another name beside it and renamed. An empty folder
/// stays the folder that it is: its files are written into a hidden folder inside and moved up one
/// by one, those by which readers know such a folder last, so that a process killed between them
/// leaves no folder that any of them takes.
///
/// Dropped without [`Reservation::publish`] or [`Reservation::save`] it leaves nothing; a killed
/// process leaves the hidden folder, whose name ends with `.unfinished-` and its id, and which may
/// be removed.
#[derive(Debug)]
pub struct Reservation {
    place: PathBuf,
    /// Where the folder is written until it is whole.
    pub(crate) unfinished: PathBuf,
    /// Parents that were made for it.
    made: MadeFolders,
    /// Whether the place is an empty folder.
    inside: bool,
}

/// What a place was before a folder was put there.
#[derive(Debug)]
pub(crate) struct Before {
    /// Parents that were made for it.
    pub(crate) made: MadeFolders,
    /// Whether it was an empty folder, which is to stay.
    pub(crate) empty_folder: bool,
}

impl Reservation {
    /// Checks that a folder can be made at `place`, or its files put into it where it is an empty
    /// one, and begins.
    ///
    /// # Errors
    ///
    /// [`FolderError::Exists`], [`FolderError::Dangling`], [`FolderError::Nameless`] or
    /// [`FolderError::Io`].
    pub fn new(place: &Path) -> Result<Self, FolderError> {
        let inside = is_empty_folder(place)?;
        let (hidden, made) = if inside {
            (place.join(unfinished()), MadeFolders::default())
        } else {
            (beside(place)?, make_parents(place)?)
        };
        let unfinished = first_free(&hidden, |path| fs::create_dir(path)).map_err(|source| {
            made.remove();
            failed(&hidden, "make the folder")(source)
        })?;
        Ok(Self {
            place: place.to_owned(),
            unfinished,
            made,
            inside,
        })
    }

    /// Where the folder will stand.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Writes one file into the folder that [`Reservation::publish`] will put in place; its name
    /// may lead into a folder within.
    ///
    /// # Errors
    ///
    /// [`FolderError::Io`] where it cannot be written.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<(), FolderError> {
        let path = self.unfinished.join(name);
        if let Some(within) = path.parent() {
            fs::create_dir_all(within).map_err(failed(within, "make the folder"))?;
        }
        fs::write(&path, contents).map_err(failed(&path, "write"))
    }

    /// Forces everything in the folder to the disk and moves it to its place.
    ///
    /// # Errors
    ///
    /// [`FolderError`] where something cannot be flushed or moved, or where the place was taken
    /// meanwhile.
    pub fn publish(self) -> Result<(), FolderError> {
        self.publish_over().map(|_| ())
    }

    /// As [`Self::publish`]; tells what was there before.
    pub(crate) fn publish_over(mut self) -> Result<Before, FolderError> {
        let folder = &self.unfinished;
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed(folder, "read"))? {
            let entry = entry.map_err(failed(folder, "read"))?;
            flush_all(&entry.path())?;
            names.push(entry.file_name());
        }
        flush(folder)?;
        if is_empty_folder(&self.place)? != self.inside {
            return Err(FolderError::Exists {
                path: self.place.clone(),
            });
        }
        if self.inside {
            self.move_up(names)?;
        } else {
            fs::rename(folder, &self.place).map_err(failed(&self.place, "put the result"))?;
            flush(parent_of(&self.place))?;
        }
        Ok(Before {
            made: std::mem::take(&mut self.made),
            empty_folder: self.inside,
        })
    }

    /// Moves the files into the folder around them. Where one cannot be moved none stays there.
    fn move_up(&self, mut names: Vec<OsString>) -> Result<(), FolderError> {
        let known = |name: &OsString| FIRST_READ.iter().position(|first| name == first);
        names.sort_by_key(|name| (known(name), name.clone()));
        let first_read = names.partition_point(|name| known(name).is_none());
        let mut moved: Vec<&OsString> = Vec::new();
        let mut result = Ok(());
        for (index, name) in names.iter().enumerate() {
            let to = self.place.join(name);
            result = if index == first_read {
                flush(&self.place)
            } else {
                Ok(())
            };
            result = result.and_then(|()| {
                fs::rename(self.unfinished.join(name), &to).map_err(failed(&to, "put the file"))
            });
            if result.is_err() {
                break;
            }
            moved.push(name);
        }
        let result = result.and_then(|()| flush(&self.place));
        if result.is_err() {
            for name in moved.into_iter().rev() {
                // What cannot be moved back either could not be reported to anyone.
                let _ = fs::rename(self.place.join(name), self.unfinished.join(name));
            }
        }
        result
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // After a save nothing is left under the other name, and no parent to take back. What
        // cannot be removed here could not be reported to anyone either.
        let _ = fs::remove_dir_all(&self.unfinished);
        self.made.remove();
    }
}

/// A free place for a file of results; the file is written under another name beside it and
/// renamed. Dropped without [`FileReservation::publish`] it leaves nothing.
#[derive(Debug)]
pub struct FileReservation {
    place: PathBuf,
    unfinished: PathBuf,
    file: File,
    /// Parents that were made for it.
    made: MadeFolders,
}

impl FileReservation {
    /// Checks that nothing is at `place` and that a file can be made there, and begins it.
    ///
    /// # Errors
    ///
    /// [`FolderError::Exists`], [`FolderError::NamelessFile`] or [`FolderError::Io`].
    pub fn new(place: &Path) -> Result<Self, FolderError> {
        let nameless = || FolderError::NamelessFile {
            path: place.to_owned(),
        };
        // "results/" can be made as a folder alone.
        let separator = place.as_os_str().as_encoded_bytes().last().copied();
        let of_a_folder = separator.is_some_and(|last| std::path::is_separator(last.into()));
        match fs::symlink_metadata(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(place, "look at it")(source)),
            Ok(_) => {
                return Err(FolderError::Exists {
                    path: place.to_owned(),
                });
            }
        }
        if of_a_folder {
            return Err(nameless());
        }
        let hidden = beside(place).map_err(|_| nameless())?;
        let made = make_parents(place)?;
        let mut file = None;
        let unfinished = first_free(&hidden, |path| {
            file = Some(File::create_new(path)?);
            Ok(())
        });
        let (unfinished, file) = match (unfinished, file) {
            (Ok(unfinished), Some(file)) => (unfinished, file),
            (unfinished, _) => {
                made.remove();
                let source = unfinished.err().unwrap_or(io::ErrorKind::Other.into());
                return Err(failed(&hidden, "make the file")(source));
            }
        };
        Ok(Self {
            place: place.to_owned(),
            unfinished,
            file,
            made,
        })
    }

    /// Writes the file, forces it to the disk and moves it to its place.
    ///
    /// # Errors
    ///
    /// [`FolderError`] where it cannot be written or moved, or where the place was taken meanwhile.
    pub fn publish(mut self, contents: &[u8]) -> Result<(), FolderError> {
        let place = self.place.clone();
        (self.file)
            .write_all(contents)
            .and_then(|()| self.file.sync_all())
            .map_err(failed(&place, "write"))?;
        if fs::symlink_metadata(&place).is_ok() {
            return Err(FolderError::Exists { path: place });
        }
        fs::rename(&self.unfinished, &place).map_err(failed(&place, "put the result"))?;
        self.made = MadeFolders::default();
        flush(parent_of(&place))
    }
}

impl Drop for FileReservation {
    fn drop(&mut self) {
        // As for folders.
        let _ = fs::remove_file(&self.unfinished);
        self.made.remove();
    }
}

/// Writes a file whole, in place of an older one: under another name beside it, flushed, renamed.
///
/// # Errors
///
/// [`FolderError::Io`]; the older file, if there is one, is unchanged.
pub fn replace(path: &Path, contents: &[u8]) -> Result<(), FolderError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.partial"));
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(contents)?;
        file.sync_all()
    });
    written
        .and_then(|()| fault::pass("file.rename"))
        .and_then(|()| fs::rename(&partial, path))
        .map_err(failed(path, "write"))?;
    flush(parent_of(path))
}

/// Whether a folder of results can be put at `place`: nothing is there, or an empty folder.
///
/// # Errors
///
/// [`FolderError::Exists`], [`FolderError::Dangling`], or [`FolderError::Io`] where the system does
/// not say.
pub(crate) fn check_free(place: &Path) -> Result<(), FolderError> {
    is_empty_folder(place).map(|_| ())
}

/// Whether an empty folder is at a place, or a link to one; false if nothing is.
fn is_empty_folder(place: &Path) -> Result<bool, FolderError> {
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(failed(place, "look at it")(source)),
        Ok(_) => {}
    }
    let metadata = fs::metadata(place).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => FolderError::Dangling {
            path: place.to_owned(),
        },
        _ => failed(place, "look at it")(source),
    })?;
    let exists = || FolderError::Exists {
        path: place.to_owned(),
    };
    if !metadata.is_dir() {
        return Err(exists());
    }
    for entry in fs::read_dir(place).map_err(failed(place, "read"))? {
        let name = entry.map_err(failed(place, "read"))?.file_name();
        let name = name.to_string_lossy();
        let unfinished = name.starts_with('.') && name.contains(UNFINISHED);
        if !unfinished && !OF_THE_SYSTEM.contains(&&*name) {
            return Err(exists());
        }
    }
    Ok(true)
}

/// The hidden name beside a place under which it is written.
fn beside(place: &Path) -> Result<PathBuf, FolderError> {
    /// Bytes of a name at most, nearly everywhere.
    const LONGEST: usize = 255;
    let Some(name) = place.file_name() else {
        return Err(FolderError::Nameless {
            path: place.to_owned(),
        });
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(unfinished());
    // With room for what `first_free` may add.
    if hidden.len() + 5 > LONGEST && name.len() <= LONGEST {
        hidden = unfinished().into();
    }
    Ok(parent_of(place).join(hidden))
}

/// The end of the name of what this process has not finished.
fn unfinished() -> String {
    format!("{UNFINISHED}{}", std::process::id())
}

/// Makes something under a hidden name, or under one with a number added if that is taken:
/// a killed process may have had this one's id, in containers most of all.
fn first_free(hidden: &Path, mut make: impl FnMut(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
    const TRIES: u32 = 1000;
    let mut path = hidden.to_owned();
    for number in 2.. {
        match make(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number <= TRIES => {
                let mut name = hidden.as_os_str().to_owned();
                name.push(format!("-{number}"));
                path = name.into();
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    Ok(path)
}

fn parent_of(place: &Path) -> &Path {
    match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the folders above a place that are missing, all or none.
pub(crate) fn make_parents(place: &Path) -> Result<MadeFolders, FolderError> {
    MadeFolders::make(parent_of(place))
        .map_err(|error| failed(&error.folder, "make the folder")(error.source))
}

/// Forces a file, or a folder with all that is in it, to the disk.
fn flush_all(path: &Path) -> Result<(), FolderError> {
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(failed(path, "read"))? {
            flush_all(&entry.map_err(failed(path, "read"))?.path())?;
        }
    }
    flush(path)
}

/// Forces a file or folder to the disk.
fn flush(path: &Path) -> Result<(), FolderError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed(path, "flush to the disk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                name.into_string().expect("a plain name")
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_empty_folder_is_filled_and_stays_the_same_folder() {
        let here = tempfile::tempdir().expect("a temporary folder");
        let place = here.path().join("mounted");
        fs::create_dir(&place).expect("a folder");
        fs::create_dir(place.join("lost+found")).expect("a folder");
        // A handle that a folder put in its place would not be behind.
        let handle = File::open(&place).expect("a folder");
        let begin = || Reservation::new(&place).expect("an empty folder");
        let dropped = begin();
        dropped.write("a", b"1").expect("a small file");
        drop(dropped);
        assert_eq!(names(&place), ["lost+found"]);
        let kept = begin();
        kept.write("config.toml", b"1").expect("a small file");
        kept.write("a", b"2").expect("a small file");
        assert_eq!(
            names(&place).len(),
            2,
            "nothing is there before it is whole"
        );
        kept.publish().expect("a place");
        assert_eq!(names(&place), ["a", "config.toml", "lost+found"]);
        assert_eq!(names(here.path()), ["mounted"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let inode = |file: &File| file.metadata().expect("a folder").ino();
            let now = File::open(&place).expect("a folder");
            assert_eq!(inode(&handle), inode(&now));
        }
        drop(handle);
        assert!(matches!(
            Reservation::new(&place),
            Err(FolderError::Exists { .. })
        ));
    }

    #[test]
    fn an_empty_folder_that_was_filled_meanwhile_is_left_alone() {
        let here = tempfile::tempdir().expect("a temporary folder");
        let first = Reservation::new(here.path()).expect("an empty folder");
        first.write("a", b"1").expect("a small file");
        fs::write(here.path().join("b"), "2").expect("a small file");
        assert!(matches!(first.publish(), Err(FolderError::Exists { .. })));
        assert_eq!(names(here.path()), ["b"]);
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let here = tempfile::tempdir().expect("a temporary folder");
        let place = here.path().join("a/b/results.json");
        drop(FileReservation::new(&place).expect("a free place"));
        assert_eq!(names(here.path()), [""; 0]);
        let file = FileReservation::new(&place).expect("a free place");
        assert!(!place.exists());
        file.publish(b"{}").expect("a place");
        assert_eq!(names(&here.path().join("a/b")), ["results.json"]);
        for taken in [&*place, here.path(), &place.join("below")] {
            assert!(FileReservation::new(taken).is_err(), "{}", taken.display());
        }
        let folder = here.path().join("new/");
        assert!(matches!(
            FileReservation::new(&folder),
            Err(FolderError::NamelessFile { .. })
        ));
        assert_eq!(names(here.path()), ["a"]);
    }

    #[test]
    fn what_a_killed_process_of_the_same_id_left_is_in_nobodys_way() {
        let here = tempfile::tempdir().expect("a temporary folder");
        let place = here.path().join("model");
        std::mem::forget(Reservation::new(&place).expect("a free place"));
        let again = Reservation::new(&place).expect("a free place");
        again.publish().expect("a place");
        let place = here.path().join("results.json");
        std::mem::forget(FileReservation::new(&place).expect("a free place"));
        FileReservation::new(&place).expect("a free place");
    }

    #[test]
    fn a_name_that_is_just_short_enough_is_taken() {
        let here = tempfile::tempdir().expect("a temporary folder");
        let place = here.path().join("n".repeat(255));
        let long = Reservation::new(&place).expect("the longest name");
        long.publish().expect("a place");
        let longer = here.path().join("n".repeat(256));
        assert!(Reservation::new(&longer).is_err());
        assert!(FileReservation::new(&longer).is_err());
    }
}
