//! `recoilctl`: the verbs of operators, a file for each.
//!
//! Operators' verbs ask one node over the admin API and print a table, or with `-o json` or `-o yaml` what the API says; authors' verbs work
//! in the folder of a package and ask nobody. Results go to
//! stdout, everything else to stderr.

mod app;
mod cluster;
mod confirm;
mod data;
mod dev;
mod dotnet;
mod inspect;
mod install;
mod keyspace;
mod list;
mod logs;
mod make;
mod new;
mod node;
mod nodes;
mod output;
mod partition;
mod push;
mod registry;
mod set;
mod sources;
pub mod status;
mod uninstall;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::client::{Client, ClientError, SERVER_DEFAULT, read_server};
use crate::exit;
use crate::say::complain;
pub use output::Output;

const APPS: &str = "\
The first word may also be the name of an installed app that has commands of its own: recoilctl APP --help lists them.";

const EXAMPLES: &str = "\
Examples:
  recoilctl install redis-server
  recoilctl --server 127.0.0.1:7401 status
  recoilctl -o json status
  recoilctl logs redis-server --follow
  recoilctl s3 --help
  recoilctl new greeter && cd greeter && recoilctl build && recoilctl push
  recoilctl install acme/greeter@1.0.0 --name hello --listen http=7000";

/// Look after a Recoil cluster.
#[derive(Debug, Parser)]
#[command(name = "recoilctl", version, after_help = format!("{APPS}\n\n{EXAMPLES}\n\n{}", exit::HELP))]
pub struct Arguments {
    /// The node to ask, any of the cluster: a name or an address, port 7400 if none is written.
    #[arg(long, global = true, env = "RECOIL_SERVER", default_value = SERVER_DEFAULT, value_name = "HOST:PORT", value_parser = read_server)]
    server: String,
    /// How to print the result.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: what the admin API says.
    Json,
    /// The same as YAML.
    Yaml,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install a package on every node and wait until it serves.
    Install(install::Install),
    /// Remove an app from every node, with all its data or without.
    Uninstall(uninstall::Uninstall),
    /// List how much data apps have, and delete what uninstalled apps left behind.
    Data(data::Data),
    /// Change settings of an app while it runs.
    Set(set::Set),
    /// List the apps.
    List,
    /// Show one app: its package, limits, addresses and how it stands on each node.
    Inspect(inspect::Inspect),
    /// Print what an app logged on all nodes.
    Logs(logs::Logs),
    /// Show nodes, partitions, replicas, leaders and apps, and what an operator should act on.
    Status(status::StatusArguments),
    /// List the members of the cluster, show one, drain one for a while, and take one out for good.
    Node(node::Node),
    /// List keyspaces, make one with rules of where its data may be, change and delete one.
    Keyspace(keyspace::Keyspace),
    /// List partitions, show one, and move them to other nodes.
    Partition(partition::Partition),
    /// Show the partitions that are being moved, and what they wait for.
    Moves(partition::Moves),
    /// Show and change how the cluster keeps its partitions placed.
    Cluster(cluster::Cluster),
    /// Pause and resume the moves of partitions that the cluster begins by itself.
    Rebalance(cluster::Rebalance),
    /// Begin a package: a folder with code, manifest, tests and the SDK.
    New(new::New),
    /// Build the package in this folder: NAME.wasm, the component with its manifest inside.
    Build(make::Build),
    /// Run the tests of the package in this folder.
    Test(make::Test),
    /// Build the package in this folder, install it, and do so again at every change, its data and settings kept; in the cluster at
    /// --server, or in one that is started for it.
    Dev(dev::Dev),
    /// Push a built package to a registry: the cluster's own, or any other.
    Push(push::Push),
    /// Where packages come from, and the cluster's own registry.
    Registry(registry::Registry),
    /// What the SDK for C# asks for while it builds.
    #[command(hide = true)]
    Dotnet(dotnet::Dotnet),
    /// Print what makes a shell complete this program's command lines.
    #[command(
        after_help = "Example:\n  recoilctl completions bash > ~/.local/share/bash-completion/completions/recoilctl"
    )]
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// A command of an app: its name and what follows it. Options of recoilctl itself stand before the name.
    #[command(external_subcommand)]
    App(Vec<String>),
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// A node could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something on this side.
    #[error("{0}")]
    Local(String),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The result was printed, and says that an operator should act.
    #[error("something needs attention")]
    Attention,
    /// The result could not be printed.
    #[error("cannot print the result: {0}")]
    Print(#[from] io::Error),
}

impl VerbError {
    fn exit_code(&self) -> u8 {
        match self {
            VerbError::Client(ClientError::Unreachable { .. }) => exit::UNREACHABLE,
            VerbError::Usage(_) => exit::USAGE,
            VerbError::Attention => exit::ATTENTION,
            // The reader of a pipe went away; it has what it wanted.
            VerbError::Print(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
            _ => exit::FAILED,
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => {
            complain(format!("recoilctl: cannot start: {error}"));
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Run the command line and say how it went.
async fn run(arguments: Arguments) -> ExitCode {
    let client = Client::new(&arguments.server);
    let mut output = Output::stdout(arguments.output);
    let result = match &arguments.verb {
        Verb::Install(install) => install.run(&client, &mut output).await,
        Verb::Uninstall(uninstall) => uninstall.run(&client, &mut output).await,
        Verb::Data(data) => data.run(&client, &mut output).await,
        Verb::Set(set) => set.run(&client, &mut output).await,
        Verb::List => list::run(&client, &mut output).await,
        Verb::Inspect(inspect) => inspect.run(&client, &mut output).await,
        Verb::Logs(logs) => logs.run(&client, &mut output).await,
        Verb::Status(status) => status.run(&client, &mut output).await,
        Verb::Node(node) => node.run(&client, &mut output).await,
        Verb::Keyspace(keyspace) => keyspace.run(&client, &mut output).await,
        Verb::Partition(partition) => partition.run(&client, &mut output).await,
        Verb::Moves(moves) => moves.run(&client, &mut output).await,
        Verb::Cluster(cluster) => cluster.run(&client, &mut output).await,
        Verb::Rebalance(rebalance) => rebalance.run(&client, &mut output).await,
        Verb::New(new) => new.run(&mut output),
        Verb::Build(build) => build.run(&mut output),
        Verb::Test(test) => test.run(),
        Verb::Dotnet(dotnet) => dotnet.run(),
        Verb::Dev(dev) => dev.run(&client, &mut output).await,
        Verb::Push(push) => push.run(&client, &mut output).await,
        Verb::Registry(registry) => registry.run(&client, &mut output).await,
        Verb::App(words) => app::run(words, &client, &mut output).await,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "recoilctl", &mut script);
            output.line(String::from_utf8_lossy(&script).trim_end()).map_err(VerbError::from)
        }
    };
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            let code = error.exit_code();
            // What needs attention is on standard output.
            if code != exit::OK && code != exit::ATTENTION {
                complain(format!("recoilctl: {error}"));
            }
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests;
