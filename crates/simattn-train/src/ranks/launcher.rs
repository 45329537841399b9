//! What a launcher says to the processes that it starts.

/// What the environment says of the processes that were started together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// How many there are; 1 for a process that was started by itself.
    pub processes: usize,
    /// Which of them this one is, from 0.
    pub place: usize,
    /// How many of them are on this host.
    pub on_this_host: usize,
    /// Which of those this one is, from 0.
    pub place_on_host: usize,
}

/// What the environment of this process says.
pub fn launch() -> Launch {
    read(|name| std::env::var(name).ok())
}

fn read(variable: impl Fn(&str) -> Option<String>) -> Launch {
    let number = |name: &str| variable(name)?.parse::<usize>().ok();
    // In an allocation of Slurm every command sees the number of tasks; only srun gives it a step.
    let slurm = |name: &str| variable("PMIX_RANK").and_then(|_| number(name));
    let first = |names: [Option<usize>; 3]| names.into_iter().flatten().next();
    let processes = first([
        number("OMPI_COMM_WORLD_SIZE"),
        number("PMI_SIZE"),
        slurm("SLURM_STEP_NUM_TASKS"),
    ]);
    let place = first([
        number("OMPI_COMM_WORLD_RANK"),
        number("PMI_RANK"),
        slurm("SLURM_PROCID"),
    ]);
    let on_this_host = first([
        number("OMPI_COMM_WORLD_LOCAL_SIZE"),
        number("MPI_LOCALNRANKS"),
        slurm("SLURM_STEP_TASKS_PER_NODE"),
    ]);
    let place_on_host = first([
        number("OMPI_COMM_WORLD_LOCAL_RANK"),
        number("MPI_LOCALRANKID"),
        slurm("SLURM_LOCALID"),
    ]);
    Launch {
        processes: processes.unwrap_or(1),
        place: place.unwrap_or(0),
        on_this_host: on_this_host.unwrap_or(1).max(1),
        place_on_host: place_on_host.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> [usize; 4] {
        let launch = read(|name| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        });
        [
            launch.processes,
            launch.place,
            launch.on_this_host,
            launch.place_on_host,
        ]
    }

    #[test]
    fn every_launcher_is_understood_and_none_is_guessed() {
        assert_eq!(of(&[]), [1, 0, 1, 0]);
        let open_mpi = [
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
        ];
        assert_eq!(of(&open_mpi), [4, 3, 2, 1]);
        let mpich = [
            ("PMI_SIZE", "3"),
            ("PMI_RANK", "2"),
            ("MPI_LOCALNRANKS", "3"),
            ("MPI_LOCALRANKID", "2"),
        ];
        assert_eq!(of(&mpich), [3, 2, 3, 2]);
        // A command of a batch script that nobody started with srun.
        assert_eq!(of(&[("SLURM_STEP_NUM_TASKS", "8")]), [1, 0, 1, 0]);
        let slurm = [
            ("PMIX_RANK", "5"),
            ("SLURM_STEP_NUM_TASKS", "8"),
            ("SLURM_PROCID", "5"),
        ];
        assert_eq!(of(&slurm), [8, 5, 1, 0]);
        assert_eq!(of(&[("PMI_SIZE", "many")]), [1, 0, 1, 0]);
    }
}
