//! What a run begins with: nothing, a saved model, or a checkpoint that it continues from.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use simattn::Decoder;
use simattn_data::{TextSettings, Tokenizer};
use simattn_train::checkpoint::{Checkpoint, State};
use simattn_train::model_folder::{self, Reservation};
use simattn_train::run_folder::RunFolder;
use simattn_train::{
    Change, Dataset, KeptTokenizer, Ranks, Resumption, RunConfig, compare_config, compare_data,
    parse_document,
};

use super::arguments::TrainArgs;
use super::several::Ended;
use crate::console::tell;
use crate::error::{CliError, failure, input};

/// What a run begins with, and the place that it has. On ranks other than 0 there is no place, and
/// the checkpoint is what rank 0 has sent of it.
#[derive(Debug, Default)]
pub(super) struct Origin {
    found: Option<Resumption>,
    place: Option<Reservation>,
    sent: Option<Checkpoint>,
    kept: Option<KeptTokenizer>,
    text: TextSettings,
    allowed: Vec<Change>,
}

/// What rank 0 sends of a checkpoint, weights and moments aside.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sent {
    folder: std::path::PathBuf,
    state: String,
    config: String,
    tokenizer: String,
    text: String,
}

impl Origin {
    /// Looks at the place of the run, and takes it. On ranks other than 0 it does nothing.
    pub(super) fn find(
        args: &TrainArgs,
        config: &RunConfig,
        ranks: &Ranks,
    ) -> Result<Self, CliError> {
        if !ranks.is_first() {
            return Ok(Self::default());
        }
        let found = Resumption::find(&args.out, &args.resume).map_err(input)?;
        // Reading the data may take long; whether there is a place for the run shows before.
        let place = match &found.folder {
            Some(_) => None,
            None => Some(Reservation::new(&args.out).map_err(input)?),
        };
        let mut origin = Self {
            place,
            ..Self::default()
        };
        if let Some(from) = &found.checkpoint {
            origin.kept = Some(KeptTokenizer::of(from, &config.data).map_err(input)?);
            origin.allowed =
                compare_config(from, config, args.allow_config_change).map_err(input)?;
        }
        origin.found = Some(found);
        Ok(origin)
    }

    /// Sends the others what they need of the checkpoint.
    pub(super) fn send(&mut self, ranks: &Ranks) -> Result<(), Ended> {
        if ranks.is_alone() {
            return Ok(());
        }
        let own = match self.checkpoint().filter(|_| ranks.is_first()) {
            Some(from) => serde_json::to_vec(&Sent::of(from).map_err(input)?).map_err(failure)?,
            None => Vec::new(),
        };
        let bytes = ranks.sent_by_first(own, "sending the checkpoint");
        if ranks.is_first() || bytes.is_empty() {
            return Ok(());
        }
        let sent: Sent = serde_json::from_slice(&bytes).map_err(failure)?;
        let config: RunConfig = parse_document(&sent.config, &sent.folder).map_err(input)?;
        let state: State = serde_json::from_str(&sent.state).map_err(failure)?;
        if !sent.text.is_empty() {
            let rows = config.model.vocabulary;
            self.text = TextSettings::from_json(&sent.text, &sent.folder, rows).map_err(input)?;
        }
        let path = sent.folder.display().to_string();
        let tokenizer = Tokenizer::from_json_with(sent.tokenizer.as_bytes(), &path, &self.text);
        self.kept = Some(KeptTokenizer {
            tokenizer: tokenizer.map_err(input)?,
            path: sent.folder.clone(),
        });
        self.sent = Some(Checkpoint {
            folder: sent.folder,
            state,
            config,
        });
        Ok(())
    }

    /// The checkpoint that the run continues from.
    pub(super) fn checkpoint(&self) -> Option<&Checkpoint> {
        let found = self.found.as_ref();
        found
            .and_then(|found| found.checkpoint.as_ref())
            .or(self.sent.as_ref())
    }

    /// The tokenizer that the run keeps.
    pub(super) fn tokenizer(&self) -> Option<&KeptTokenizer> {
        self.kept.as_ref()
    }

    /// What ends a text and how a chat is written, where the folder of the weights says it.
    pub(super) fn text(&self, args: &TrainArgs, rows: usize) -> Result<TextSettings, CliError> {
        if self.sent.is_some() {
            return Ok(self.text.clone());
        }
        let from = self.checkpoint().map(|from| &from.folder);
        match from.or(args.init.as_ref()) {
            Some(folder) => TextSettings::from_folder(folder, rows).map_err(input),
            None => Ok(TextSettings::default()),
        }
    }

    /// Refuses other data than the checkpoint's, unless that is allowed.
    pub(super) fn compare_data(
        &mut self,
        args: &TrainArgs,
        dataset: &Dataset,
    ) -> Result<(), CliError> {
        let Some(from) = self.checkpoint() else {
            return Ok(());
        };
        let data = dataset.fingerprint().map_err(input)?;
        let changes = compare_data(from, &data, args.allow_config_change).map_err(input)?;
        self.allowed.extend(changes);
        Ok(())
    }

    /// The model with the weights that it begins with; on ranks other than 0 those of a checkpoint
    /// are still to be sent.
    pub(super) fn decoder(
        &self,
        args: &TrainArgs,
        config: &RunConfig,
        device: &Device,
        ranks: &Ranks,
    ) -> Result<Decoder, CliError> {
        match (self.checkpoint(), &args.init) {
            (Some(from), _) if ranks.is_first() => from.decoder(config, device).map_err(input),
            (None, Some(init)) => {
                model_folder::load_weights(init, &config.model, device).map_err(input)
            }
            _ => Decoder::new(&config.model, config.seed, device).map_err(input),
        }
    }

    /// The run's folder; says what was found there. For rank 0.
    pub(super) fn folder(&mut self, args: &TrainArgs) -> Result<RunFolder, CliError> {
        let found = self.found.as_mut();
        let there = found.and_then(|found| found.folder.take());
        let folder = match (there, self.place.take()) {
            (Some(folder), _) => folder,
            (None, Some(place)) => RunFolder::create_at(place).map_err(input)?,
            (None, None) => RunFolder::create(&args.out).map_err(input)?,
        };
        let unusable = self.found.iter().flat_map(|found| &found.unusable);
        for (path, error) in unusable {
            let place = folder.set_aside(path).map_err(failure)?;
            tell(format_args!(
                "train: {error}; set aside as {}",
                place.display()
            ));
        }
        for change in &self.allowed {
            tell(format_args!("train: changed as allowed: {change}"));
        }
        Ok(folder)
    }
}

impl Sent {
    fn of(from: &Checkpoint) -> Result<Self, simattn_train::checkpoint::CheckpointError> {
        Ok(Self {
            folder: from.folder.clone(),
            state: from.text("state.json")?,
            config: from.text("config.toml")?,
            tokenizer: from.text("tokenizer.json")?,
            text: from.text_settings()?,
        })
    }
}
