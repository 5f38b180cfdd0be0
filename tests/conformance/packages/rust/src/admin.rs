//! Commands for operators: they reach the data by calls of the handler, and print what they were given.

use recoil_sdk::{Admin, Command, Error, RoutedCall, Router};

use crate::Package;
use crate::wire::{decode, encode};

impl Admin for Package {
    fn commands() -> Vec<Command> {
        vec![
            Command::new("key put", "KEY VALUE", "Put a value at a key."),
            Command::new("key get", "KEY", "Print the value of a key."),
            Command::new("echo", "WORDS…", "Print the words, each in brackets: [größe]."),
            Command::new("fail", "TEXT", "Refuse, for this reason."),
            Command::new("throw", "TEXT", "Throw an exception."),
        ]
    }

    fn run(arguments: &[String], router: &dyn Router) -> Result<String, Error> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments[..] {
            ["key", "put", key, value] => {
                router.call(&RoutedCall::write(key.as_bytes(), encode(&["put", key, value])))?;
                Ok(String::new())
            }
            ["key", "get", key] => {
                let answer = router.call(&RoutedCall::read(key.as_bytes(), encode(&["get", key])))?;
                let value = decode(&answer)?.first().map(|value| String::from_utf8_lossy(value).into_owned());
                value.ok_or_else(|| Error::new("no such key"))
            }
            ["echo", ref words @ ..] => Ok(words.iter().map(|word| format!("[{word}]")).collect()),
            ["fail", text] => Err(Error::new(text)),
            ["throw", text] => panic!("{text}"),
            _ => Err(Error::new("no such command")),
        }
    }
}
