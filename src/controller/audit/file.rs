//! A file that audit lines are appended to. Touches the file and its folder.
//!
//! Whoever rotates it may rename it away, or copy and truncate it: it is opened anew once something else, or nothing, is
//! under its name, and what is written always goes to its end.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::line::Line;

/// Whoever collects it may read it.
const MODE: u32 = 0o640;

/// A file that is appended to.
pub(in crate::controller) struct LineFile {
    path: PathBuf,
    open: Arc<Mutex<Option<File>>>,
}

impl LineFile {
    /// Opened when the first line comes.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: Arc::default(),
        }
    }

    /// Appends them, and returns once they are on the disk.
    pub(super) async fn append(&self, lines: &[&Line]) -> io::Result<()> {
        let text: String = lines.iter().map(|line| line.for_a_sink()).collect();
        let (path, open) = (self.path.clone(), Arc::clone(&self.open));
        // A disk may hang: in a thread of its own it holds up nobody else.
        tokio::task::spawn_blocking(move || {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            let file = current(open.take(), &path)?;
            write(&file, &text)?;
            *open = Some(file);
            Ok(())
        })
        .await
        .map_err(io::Error::other)?
    }
}

/// What is under that name now: the open file if it still is, or else another one.
fn current(open: Option<File>, path: &Path) -> io::Result<File> {
    if let Some(file) = open
        && let (Ok(ours), Ok(named)) = (file.metadata(), path.metadata())
        && (ours.dev(), ours.ino()) == (named.dev(), named.ino())
    {
        return Ok(file);
    }
    let is_new = !path.try_exists()?;
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)?;
    if is_new && let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        // Its name has to last as long as what is in it.
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

fn write(mut file: &File, text: &str) -> io::Result<()> {
    // Whoever died, or had no room left, in the middle of a line left half of one: it stays on a line of its own.
    let torn = if file.seek(SeekFrom::End(0))? == 0 {
        false
    } else {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        last != *b"\n"
    };
    let text = if torn {
        format!("\n{text}")
    } else {
        text.to_owned()
    };
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("foredeck-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn append(open: Option<File>, path: &Path, text: &str) -> File {
        let file = current(open, path).unwrap();
        write(&file, text).unwrap();
        file
    }

    #[test]
    fn lines_go_to_what_is_under_the_name_and_to_its_end() {
        let folder = folder("rotated");
        let (path, old) = (folder.join("audit"), folder.join("audit.1"));
        let file = append(None, &path, "one\n");
        let file = append(Some(file), &path, "two\n");
        fs::rename(&path, &old).unwrap();
        let file = append(Some(file), &path, "three\n");
        assert_eq!(fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        File::create(&path).unwrap();
        let file = append(Some(file), &path, "four\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
        fs::remove_file(&path).unwrap();
        append(Some(file), &path, "five\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "five\n");
        assert_eq!(path.metadata().unwrap().mode() & 0o007, 0);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn half_a_line_that_somebody_left_spoils_no_other() {
        let folder = folder("torn");
        let path = folder.join("audit");
        fs::write(&path, "{\"half\":").unwrap();
        append(None, &path, "whole\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"half\":\nwhole\n");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_full_disk_is_told_as_that() {
        let error = write(
            &OpenOptions::new()
                .read(true)
                .append(true)
                .open("/dev/full")
                .unwrap(),
            "line\n",
        )
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
