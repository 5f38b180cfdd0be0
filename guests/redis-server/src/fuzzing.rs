//! What the fuzz targets of `tests/fuzz` call: the parser, the request format, and whole sessions on a cluster in memory.
//!
//! A target never panics unless a promise is broken. Deliberately absent: any other use, and the component, which has none of
//! this.

use recoil_sdk::fake::{FakeCluster, FakeConnection};
use recoil_sdk::{Handler as _, Listener as _};

use crate::Redis;
use crate::request::{self, Op, Request, Style, decode_conditions};
use crate::resp::{COMMAND_BYTES_MAX, Parsed, Parser};

/// More than this beside a command and the input was never needed.
const SLACK_BYTES: usize = 256 << 10;

type Commands = (Vec<Option<Vec<Vec<u8>>>>, Option<String>);

fn parse<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Commands {
    let mut parser = Parser::default();
    let (mut commands, mut fed) = (Vec::new(), 0);
    for chunk in chunks {
        parser.feed(chunk);
        fed += chunk.len();
        loop {
            match parser.next() {
                Ok(Some(Parsed::Command(arguments))) => {
                    assert!(arguments.len() > 0, "a command has a name");
                    assert!(arguments.bytes() <= COMMAND_BYTES_MAX);
                    commands.push(Some(arguments.from(0).map(<[u8]>::to_vec).collect()));
                }
                Ok(Some(Parsed::TooLarge)) => commands.push(None),
                Ok(None) => break,
                Err(error) => return (commands, Some(error.0)),
            }
        }
        assert!(parser.bytes_held() <= COMMAND_BYTES_MAX + SLACK_BYTES + 2 * fed, "{}", parser.bytes_held());
    }
    (commands, None)
}

/// What a client sends: the same commands come of it however it is cut, and each survives being sent as an array.
pub fn resp(input: &[u8]) {
    let Some((first, stream)) = input.split_first() else { return };
    let whole = parse(std::iter::once(stream));
    assert_eq!(parse(stream.chunks(usize::from(*first).max(1))), whole);
    for command in whole.0.iter().flatten() {
        let mut array = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command {
            array.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            array.extend_from_slice(argument);
            array.extend_from_slice(b"\r\n");
        }
        assert_eq!(parse(std::iter::once(&array[..])), (vec![Some(command.clone())], None));
    }
}

/// What a listener sends to a handler: read, written again, and executed on an empty partition.
pub fn requests(input: &[u8]) {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    cluster.with_partition(0, |partition| {
        let _ = partition.read::<Redis>(input);
        let _ = partition.write::<Redis>(input);
        let _ = partition.in_transaction(|transaction| Redis::handle(transaction, input));
    });
    let Ok(mut request) = Request::decode(input) else { return };
    if request.op == Op::Batch {
        let Ok(conditions) = decode_conditions(&mut request.arguments) else { return };
        let conditions: Vec<_> = conditions.iter().map(|condition| (condition.key, condition.version)).collect();
        let mut requests = Vec::new();
        while let Ok(Some(request)) = request.arguments.next() {
            requests.push(request);
        }
        let written = request::encode_batch(&conditions, &requests);
        let mut again = Request::decode(&written).expect("what was written can be read");
        let read = decode_conditions(&mut again.arguments).expect("conditions");
        assert_eq!(read.iter().map(|condition| (condition.key, condition.version)).collect::<Vec<_>>(), conditions);
        return;
    }
    let mut arguments = Vec::new();
    while let Ok(Some(argument)) = request.arguments.next() {
        arguments.push(argument);
    }
    let written =
        request::encode(request.op, Style { resp3: request.resp3, scope: request.scope }, arguments.iter().copied());
    let mut again = Request::decode(&written).expect("what was written can be read");
    assert_eq!((again.op, again.resp3, again.scope), (request.op, request.resp3, request.scope));
    for argument in arguments {
        assert_eq!(again.arguments.next(), Ok(Some(argument)));
    }
}

/// A payload of RESTORE's, with the end that it should have: what is read survives being written, and a server takes it or refuses.
pub fn dump(input: &[u8]) {
    crate::dump::fuzz(input);
}

/// Two clients, one after the other, on a cluster of a few partitions: the listener ends each session in order, and whatever the first
/// has done, a third is served.
pub fn session(input: &[u8]) {
    let Some((first, stream)) = input.split_first() else { return };
    let cluster = FakeCluster::new::<Redis>(5, 2);
    let (one, other) = stream.split_at(stream.len() / 2);
    let size = usize::from(*first) + 1;
    for chunks in [vec![stream], one.chunks(size).collect(), other.chunks(size).collect()] {
        let mut connection = FakeConnection::new(chunks);
        Redis::serve(&mut connection, &cluster).expect("a session ends without an error");
    }
    let mut connection = FakeConnection::new(["PING\r\n"]);
    Redis::serve(&mut connection, &cluster).expect("a session ends without an error");
    assert_eq!(connection.output(), b"+PONG\r\n");
}
