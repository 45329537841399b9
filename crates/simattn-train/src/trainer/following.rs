//! A trainer among others: its ranks, and what those do that do not lead.

use simattn::named;
use simattn_data::Share;

use super::Trainer;
use crate::error::TrainError;
use crate::ranks::{Command, Ranks};

impl Trainer {
    /// The same as one of several ranks, each of which has a trainer with the same weights: it runs
    /// its share of every step and of every evaluation. To be called before the first step.
    ///
    /// On rank 0 every other method does what it does alone; the others [follow](Self::follow).
    ///
    /// # Errors
    ///
    /// Data that cannot be read.
    pub fn with_ranks(mut self, ranks: Ranks) -> Result<Self, TrainError> {
        let of = self.config.accumulation;
        let own = ranks.part(of);
        self.loader = self.loader.with_share(Share {
            first: own.start,
            count: own.len(),
            of,
        })?;
        if self.config.shard_optimizer && !ranks.is_alone() {
            let parameters = named::parameters(self.decoder());
            self.optimizer.shard(&ranks, &parameters, &self.device);
        }
        self.ranks = ranks;
        Ok(self)
    }

    /// Those that train this model together.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// Does what rank 0 says, until the run has ended.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`]; [`TrainError::OnRank`] where another rank has to say what is wrong.
    pub fn follow(&mut self) -> Result<(), TrainError> {
        loop {
            match self.ranks.listen() {
                Command::Step => self.step(&mut ())?,
                Command::Evaluate => drop(self.evaluate()),
                Command::Gather => {
                    let parameters = named::parameters(self.decoder());
                    self.optimizer.state(&parameters);
                }
                Command::End => return Ok(()),
            }
        }
    }

    /// Tells the other ranks that the run has ended. For rank 0.
    pub fn end(&self) {
        self.ranks.tell(Command::End);
    }
}
