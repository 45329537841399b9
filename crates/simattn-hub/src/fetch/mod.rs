mod listing;
mod wanted;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::reference::plain;
use crate::{DatasetReference, HubError, ModelReference, Repository};
use wanted::{MODEL_FILES, is_extra};

/// Where files come from and where they are kept.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The folder of repositories, laid out as all Hugging Face tools do.
    pub cache: PathBuf,
    /// The server's address, without a path.
    pub endpoint: String,
    /// Sent to the server where there is one.
    pub token: Option<String>,
    /// Whether only the cache is read.
    pub offline: bool,
}

impl Hub {
    /// As HF_HUB_CACHE, HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE say.
    ///
    /// # Errors
    /// [`HubError::NoCache`] where nothing says where the cache is.
    pub fn from_env() -> Result<Self, HubError> {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let home = text("HF_HOME").map(PathBuf::from).or_else(|| {
            let home = text("HOME").or_else(|| text("USERPROFILE"))?;
            Some(Path::new(&home).join(".cache/huggingface"))
        });
        let cache = match (text("HF_HUB_CACHE"), &home) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => home.join("hub"),
            (None, None) => return Err(HubError::NoCache),
        };
        let kept = || fs::read_to_string(home.as_ref()?.join("token")).ok();
        let token = text("HF_TOKEN").or_else(kept);
        Ok(Self {
            // The client below links by relative paths between absolute ones.
            cache: std::path::absolute(cache).map_err(|_| HubError::NoCache)?,
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            token: token
                .map(|token| token.trim().to_owned())
                .filter(|token| !token.is_empty()),
            offline: text("HF_HUB_OFFLINE").is_some_and(|value| {
                ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())
            }),
        })
    }

    /// See [`crate::dataset_files`].
    ///
    /// # Errors
    /// [`HubError`]
    pub fn dataset_files(&self, reference: &DatasetReference) -> Result<Vec<PathBuf>, HubError> {
        let text = reference.to_string();
        let pattern = Pattern::new(&reference.pattern).map_err(|error| HubError::Pattern {
            reference: text.clone(),
            why: error.to_string(),
        })?;
        let options = MatchOptions {
            require_literal_separator: true,
            ..MatchOptions::new()
        };
        let wanted = |name: &str| name == reference.pattern || pattern.matches_with(name, options);
        let (folder, names) =
            self.fetch(&text, &reference.repository, RepoType::Dataset, wanted)?;
        if names.is_empty() {
            return Err(HubError::NoFile {
                reference: text,
                wanted: format!("file {}", reference.pattern),
            });
        }
        Ok(names.iter().map(|name| folder.join(name)).collect())
    }

    /// See [`crate::model_folder`].
    ///
    /// # Errors
    /// [`HubError`]
    pub fn model_folder(&self, reference: &ModelReference) -> Result<PathBuf, HubError> {
        let text = reference.to_string();
        let wanted = |name: &str| {
            MODEL_FILES.contains(&name)
                || (name.ends_with(".safetensors") && !name.contains('/'))
                || is_extra(name)
        };
        let (folder, names) = self.fetch(&text, &reference.repository, RepoType::Model, wanted)?;
        let has = |end: &str| names.iter().any(|name| name.ends_with(end));
        for needed in ["config.json", "tokenizer.json", ".safetensors"] {
            if !has(needed) {
                return Err(HubError::NoFile {
                    reference: text,
                    wanted: needed.into(),
                });
            }
        }
        Ok(folder)
    }

    /// The snapshot's folder and the names in it that are wanted, sorted.
    fn fetch(
        &self,
        text: &str,
        repository: &Repository,
        kind: RepoType,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(PathBuf, Vec<String>), HubError> {
        let cache = Cache::new(self.cache.clone());
        let branch = Repo::with_revision(repository.id(), kind, repository.revision().to_owned());
        let place = self.cache.join(branch.folder_name());
        if self.offline {
            return listing::cached(&place, repository.revision(), &wanted)
                .ok_or_else(|| HubError::Offline(text.to_owned()));
        }
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(self.endpoint.trim_end_matches('/').to_owned())
            .with_token(self.token.clone())
            .with_progress(false)
            .build()
            .map_err(|error| refusal(text, "the file list", &error))?;
        let info = match api.repo(branch.clone()).info() {
            Ok(info) => info,
            Err(error) => {
                let error = refusal(text, "the file list", &error);
                // Without a connection the cache answers, where it has everything.
                if let HubError::BrokenOff { .. } = error
                    && let Some(found) = listing::cached(&place, repository.revision(), &wanted)
                {
                    tell(format_args!(
                        "{text}: no answer from {}; using the cache",
                        self.endpoint
                    ));
                    return Ok(found);
                }
                return Err(error);
            }
        };
        let unsafe_name = |name: &str| HubError::Name {
            reference: text.to_owned(),
            name: name.to_owned(),
        };
        if !plain(&info.sha) {
            return Err(unsafe_name(&info.sha));
        }
        let all: Vec<String> = info
            .siblings
            .into_iter()
            .map(|file| file.rfilename)
            .collect();
        let mut names: Vec<String> = all.iter().filter(|name| wanted(name)).cloned().collect();
        names.sort();
        names.dedup();
        if let Some(name) = names.iter().find(|name| !name.split('/').all(plain)) {
            return Err(unsafe_name(name));
        }
        // All files of one commit, even if the branch moves meanwhile.
        let commit = Repo::with_revision(repository.id(), kind, info.sha.clone());
        let folder = cache.repo(commit.clone()).pointer_path(&info.sha);
        for name in &names {
            if !folder.join(name).is_file() {
                self.download(text, &api, &commit, &info.sha, name)?;
            }
        }
        let keep = listing::keep(&place, &info.sha, &all)
            .and_then(|()| cache.repo(branch).create_ref(&info.sha));
        keep.map_err(|error| broken(text, "the file list", error))?;
        Ok((folder, names))
    }

    fn download(
        &self,
        text: &str,
        api: &Api,
        commit: &Repo,
        sha: &str,
        name: &str,
    ) -> Result<(), HubError> {
        let remote = api.repo(commit.clone());
        let told = api
            .metadata(&remote.url(name))
            .map_err(|error| refusal(text, name, &error))?;
        // The client makes paths of these.
        for word in [told.etag(), told.commit_hash()] {
            if !plain(word) {
                return Err(HubError::Name {
                    reference: text.to_owned(),
                    name: word.to_owned(),
                });
            }
        }
        if told.commit_hash() != sha {
            return Err(broken(text, name, "the server answers with another commit"));
        }
        tell(format_args!(
            "{text}: fetching {name} ({:.1} MB)",
            told.size() as f64 / 1e6
        ));
        let path = remote
            .download(name)
            .map_err(|error| refusal(text, name, &error))?;
        let size = fs::metadata(&path)
            .map_err(|error| broken(text, name, error))?
            .len();
        if size != told.size() as u64 {
            // A link and the file behind it; neither may be taken for whole later.
            if let Ok(blob) = fs::canonicalize(&path) {
                fs::remove_file(blob).ok();
            }
            fs::remove_file(&path).ok();
            let why = format!("{size} bytes of {}", told.size());
            return Err(broken(text, name, why));
        }
        Ok(())
    }
}

/// Reports progress on standard error, if anyone can read it.
fn tell(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn broken(text: &str, file: &str, why: impl ToString) -> HubError {
    HubError::BrokenOff {
        reference: text.to_owned(),
        file: file.to_owned(),
        why: why
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn refusal(text: &str, file: &str, error: &ApiError) -> HubError {
    if let ApiError::RequestError(request) = error
        && let ureq::Error::StatusCode(status) = **request
    {
        match status {
            401 | 403 => return HubError::Refused(text.to_owned()),
            404 => return HubError::Missing(text.to_owned()),
            _ => {}
        }
    }
    broken(text, file, error)
}
