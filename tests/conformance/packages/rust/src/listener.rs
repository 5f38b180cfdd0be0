//! What only a listener can do: calling partitions, and asking where they are.

use recoil_sdk::{Address, CallError, Mode, PartitionInfo, RoutedCall, Router};

use crate::commands;
use crate::wire::{Arguments, List, Pair, Refusal, decode, one, option, routed_answer, unknown};

/// Runs a command that needs no connection. `peer` is the client.
pub(crate) fn run(
    router: &dyn Router,
    peer: &str,
    command: &str,
    arguments: &mut Arguments<'_>,
) -> Result<List, Refusal> {
    if let Some(answer) = commands::run(&mut *router.storage(), command, arguments)? {
        return Ok(answer);
    }
    match command {
        "call" => {
            let (mode, key) = (mode(arguments)?, arguments.bytes()?.to_vec());
            call(router, Address::Key(key), mode, arguments)
        }
        "call-partition" => {
            let (mode, id) = (mode(arguments)?, arguments.parsed()?);
            call(router, Address::Partition(id), mode, arguments)
        }
        "call-many" => {
            let mode = mode(arguments)?;
            Ok(answers(router.call_many(&calls(mode, arguments)?)))
        }
        "submit" => {
            let mode = mode(arguments)?;
            let pending: Vec<_> = calls(mode, arguments)?.iter().map(|call| router.submit(call)).collect();
            Ok(answers(router.wait_all(pending)))
        }
        "leave" => {
            let count = arguments.parsed::<u32>()?;
            let call = RoutedCall::write(arguments.bytes()?, arguments.bytes()?.to_vec());
            for _ in 0..count {
                router.submit(&call);
            }
            Ok(List::new())
        }
        "transact" => {
            // Each is a list already.
            Ok(router.transact(&calls(Mode::Write, arguments)?)?)
        }
        "scatter" => {
            let mode = mode(arguments)?;
            Ok(answers(router.scatter(arguments.bytes()?, mode)))
        }
        "locate" => Ok(place(&router.locate(arguments.bytes()?))),
        "partitions" => Ok(one(router.partitions().len())),
        "peer" => Ok(one(peer)),
        _ => Err(unknown(command)),
    }
}

fn mode(arguments: &mut Arguments<'_>) -> Result<Mode, Refusal> {
    match arguments.text()? {
        "write" => Ok(Mode::Write),
        "read" => Ok(Mode::Read),
        "stale-read" => Ok(Mode::StaleRead),
        other => Err(Refusal::invalid(format!("'{other}' is no mode"))),
    }
}

/// A handler's answer is a list, and so is the listener's.
fn call(router: &dyn Router, to: Address, mode: Mode, arguments: &mut Arguments<'_>) -> Result<List, Refusal> {
    let request = arguments.bytes()?.to_vec();
    let answer = router.call(&RoutedCall { to, request, mode })?;
    Ok(decode(&answer)?.into_iter().map(<[u8]>::to_vec).collect())
}

fn calls(mode: Mode, arguments: &mut Arguments<'_>) -> Result<Vec<RoutedCall>, Refusal> {
    let call =
        |(key, request): &Pair<'_>| RoutedCall { to: Address::Key(key.to_vec()), request: request.to_vec(), mode };
    Ok(arguments.pairs()?.iter().map(call).collect())
}

fn answers(results: impl IntoIterator<Item = Result<Vec<u8>, CallError>>) -> List {
    results.into_iter().map(routed_answer).collect()
}

fn place(partition: &PartitionInfo) -> List {
    let leader = partition.leader.map(|node| node.to_string());
    let replicas: Vec<String> = partition.replicas.iter().map(u32::to_string).collect();
    vec![
        partition.id.to_string().into_bytes(),
        option(leader.as_deref().map(str::as_bytes)),
        replicas.join(",").into_bytes(),
        partition.epoch.to_string().into_bytes(),
    ]
}
