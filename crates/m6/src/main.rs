//! The m6 binary: verbs, configuration, terminal, reports. No algorithm lives here.

mod cli;
mod config;
mod error;
mod out;
mod report;
mod tasks;
mod verbs;

use clap::Parser;
use cli::{Cli, Verb};
use error::{Failure, OrFail, Result};
use out::Terminal;

#[global_allocator]
static ALLOCATOR: m6_nn::alloc::BlockAllocator = m6_nn::alloc::BlockAllocator::new();

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new(&cli.common);
    match run(&cli, &terminal) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            terminal.error(&failure);
            std::process::ExitCode::from(failure.code as u8)
        }
    }
}

fn run(cli: &Cli, terminal: &Terminal) -> Result<()> {
    out::init_logging(&cli.common);
    if cli.common.device != "cpu" {
        return Err(Failure::usage(format!(
            "device `{}`: this build has only cpu",
            cli.common.device
        )));
    }
    if cli.common.threads == Some(0) {
        return Err(Failure::usage("--threads 0: at least one thread is needed"));
    }
    let threads = cli.common.threads.or_else(verbs::ranks::threads);
    m6_nn::threads::init(threads).or_usage()?;
    let common = &cli.common;
    match &cli.verb {
        Verb::Demo(args) => verbs::demo::run(args, common, terminal),
        Verb::Corpus(verb) => verbs::corpus::run(verb, common, terminal),
        Verb::Tokenizer(verb) => verbs::tokenizer::run(verb, common, terminal),
        Verb::Vqgan(verb) => verbs::vqgan::run(verb, common, terminal),
        Verb::Prepare(args) => verbs::prepare::run(args, common, terminal),
        Verb::Pretrain(args) => verbs::pretrain::run(args, common, terminal),
        Verb::Finetune(args) => verbs::finetune::run(args, common, terminal),
        Verb::Generate(verb) => verbs::generate::run(verb, common, terminal),
        Verb::Eval(verb) => verbs::eval::run(verb, common, terminal),
        Verb::Score(verb) => verbs::score::run(verb, common, terminal),
        Verb::Plan(args) => verbs::plan::run(args, common, terminal),
        Verb::Preset(verb) => verbs::preset::run(verb, common, terminal),
        Verb::Inspect(args) => verbs::inspect::run(args, common, terminal),
        Verb::Report(verb) => verbs::compare::run(verb, common, terminal),
        Verb::Export(args) => verbs::export::run(args, common, terminal),
        Verb::Bench(verb) => verbs::bench::run(verb, common, terminal),
        Verb::Doctor => verbs::doctor::run(common, terminal),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                *shell,
                &mut <Cli as clap::CommandFactory>::command(),
                "m6",
                &mut script,
            );
            terminal.data(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
