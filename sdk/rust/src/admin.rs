//! The commands that a package has for operators.

pub use crate::bindings::admin::exports::recoil::plugin::admin::Command;

impl Command {
    /// A command that is called by `words`, such as `key create`, and followed by `usage`, such as `NAME [--bucket BUCKET]`; `help` says in
    /// one sentence what it does.
    pub fn new(words: &str, usage: &str, help: &str) -> Self {
        let words = words.split_whitespace().map(str::to_owned).collect();
        Command { words, usage: usage.to_owned(), help: help.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeCluster;
    use crate::{Admin, Error, Handler, RoutedCall, Router, Transaction};

    /// Keeps a text by its key.
    struct Notes;

    impl Handler for Notes {
        fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
            transaction.put(b"note", request)?;
            Ok(request.to_ascii_uppercase())
        }
    }

    impl Admin for Notes {
        fn commands() -> Vec<Command> {
            vec![Command::new("note put", "TEXT", "Keep a text.")]
        }

        fn run(arguments: &[String], router: &dyn Router) -> Result<String, Error> {
            match arguments {
                [note, put, text] if note == "note" && put == "put" => {
                    let answer = router.call(&RoutedCall::write(b"note", text.clone().into_bytes()))?;
                    Ok(String::from_utf8_lossy(&answer).into_owned())
                }
                _ => Err(Error::new("write note put TEXT")),
            }
        }
    }

    crate::export!(Notes: handler, admin);

    #[test]
    fn a_command_reaches_the_data_by_the_router() {
        let cluster = FakeCluster::new::<Notes>(4, 1);
        let typed = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(Notes::run(&typed("note put hello"), &cluster), Ok("HELLO".to_owned()));
        assert_eq!(Notes::run(&typed("note"), &cluster), Err(Error::new("write note put TEXT")));
        assert_eq!(Notes::commands()[0].words, ["note", "put"]);
    }
}
