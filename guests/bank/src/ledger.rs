//! What commands do to the rows of a branch. Each runs in a transaction of the branch's partition.
//!
//! ```text
//! A branch account            -> balance, number of entries
//! E branch account number     -> an entry of the account's statement, as JSON
//! I branch idempotency-key    -> the command that was carried out under it, and its outcome
//! ```
//!
//! A command that moves money names an idempotency key. Sent again with the same key it is not carried out again, and is
//! answered as the first time; for [`KEPT_US`], after which a timer removes the key.

use recoil_sdk::encoding::{Key, Reader, Writer};
use recoil_sdk::{Error, KeyRange, Transaction};
use serde::{Deserialize, Serialize};

/// How long an idempotency key is remembered: a day.
pub(crate) const KEPT_US: u64 = 24 * 3600 * 1_000_000;
/// A balance at most, and an amount: what every JSON reader holds exactly.
pub(crate) const AMOUNT_MAX: u64 = (1 << 53) - 1;
/// Entries of a page of a statement.
pub(crate) const PAGE_MAX: u32 = 100;

/// What a request asks of a branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) branch: String,
    pub(crate) action: Action,
    /// Present for actions that move money.
    #[serde(default)]
    pub(crate) idempotency_key: Option<String>,
}

/// Amounts are in the smallest unit of the currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    Open { account: String },
    Balance { account: String },
    Statement { account: String, before: u64, limit: u32 },
    Deposit { account: String, amount: u64 },
    Withdraw { account: String, amount: u64 },
    Transfer { from: String, to: String, amount: u64 },
}

impl Action {
    pub(crate) fn moves_money(&self) -> bool {
        matches!(self, Action::Deposit { .. } | Action::Withdraw { .. } | Action::Transfer { .. })
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Opened(Account),
    /// Also the account of a deposit, a withdrawal, or that a transfer came from.
    Account(Account),
    Statement {
        entries: Vec<Entry>,
        next_before: Option<u64>,
    },
    Refused(Refusal),
    /// The outcome of an earlier command under the same key.
    Repeated(Box<Outcome>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) account: String,
    pub(crate) balance: u64,
}

/// A line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) at_us: u64,
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) other: Option<String>,
    pub(crate) amount: u64,
    pub(crate) balance: u64,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Refusal {
    NoAccount { account: String },
    NotEnough { account: String, balance: u64 },
    TooMuch { account: String },
    SameAccount,
    KeyReused,
}

/// Carries a command out, unless it was carried out under its key before.
pub(crate) fn carry_out(transaction: &mut dyn Transaction, command: &Command) -> Result<Outcome, Error> {
    let Some(key) = command.idempotency_key.as_ref().filter(|_| command.action.moves_money()) else {
        return act(transaction, command);
    };
    let row = Key::new(b'I').bytes(command.branch.as_bytes()).bytes(key.as_bytes()).finish();
    if let Some(known) = transaction.get(&row)? {
        let (first, outcome): (Command, Outcome) = from_json(&known)?;
        let same = first == *command;
        return Ok(if same { Outcome::Repeated(Box::new(outcome)) } else { Outcome::Refused(Refusal::KeyReused) });
    }
    let outcome = act(transaction, command)?;
    transaction.put(&row, &to_json(&(command, &outcome))?)?;
    let at = transaction.now_us() + KEPT_US;
    transaction.set_timer(&row, at, &[]);
    Ok(outcome)
}

/// Removes an idempotency key, whose row a timer is named by.
pub(crate) fn forget(transaction: &mut dyn Transaction, row: &[u8]) -> Result<(), Error> {
    Ok(transaction.remove(row)?)
}

fn act(transaction: &mut dyn Transaction, command: &Command) -> Result<Outcome, Error> {
    let mut branch = Branch { transaction, name: command.branch.as_bytes() };
    let account = |account: &str, balance| Account { account: account.to_owned(), balance };
    let outcome = match &command.action {
        Action::Open { account: name } => match branch.find(name)? {
            Some(found) => Ok(Outcome::Account(account(name, found.balance))),
            None => {
                branch.save(name, &Standing { balance: 0, entries: 0 })?;
                Ok(Outcome::Opened(account(name, 0)))
            }
        },
        Action::Balance { account: name } => {
            branch.existing(name)?.map(|found| Outcome::Account(account(name, found.balance)))
        }
        Action::Statement { account: name, before, limit } => match branch.existing(name)? {
            Ok(_) => Ok(branch.statement(name, *before, *limit)?),
            Err(refusal) => Err(refusal),
        },
        Action::Deposit { account: name, amount } => {
            branch.add(name, *amount, "deposit", None)?.map(|balance| Outcome::Account(account(name, balance)))
        }
        Action::Withdraw { account: name, amount } => {
            branch.take(name, *amount, "withdrawal", None)?.map(|balance| Outcome::Account(account(name, balance)))
        }
        Action::Transfer { from, to, .. } if from == to => Err(Refusal::SameAccount),
        Action::Transfer { from, to, amount } => {
            branch.transfer(from, to, *amount)?.map(|balance| Outcome::Account(account(from, balance)))
        }
    };
    Ok(outcome.unwrap_or_else(Outcome::Refused))
}

/// What is known of an account.
#[derive(Clone, Copy)]
struct Standing {
    balance: u64,
    entries: u64,
}

/// The rows of a branch.
struct Branch<'a> {
    transaction: &'a mut dyn Transaction,
    name: &'a [u8],
}

type Checked<T> = Result<Result<T, Refusal>, Error>;

impl Branch<'_> {
    fn account_row(&self, account: &str) -> Vec<u8> {
        Key::new(b'A').bytes(self.name).bytes(account.as_bytes()).finish()
    }

    fn entry_row(&self, account: &str, number: u64) -> Vec<u8> {
        Key::new(b'E').bytes(self.name).bytes(account.as_bytes()).u64(number).finish()
    }

    fn find(&self, account: &str) -> Result<Option<Standing>, Error> {
        let Some(row) = self.transaction.get(&self.account_row(account))? else { return Ok(None) };
        let mut reader = Reader::new(&row);
        let standing = Standing { balance: reader.u64()?, entries: reader.u64()? };
        reader.finish()?;
        Ok(Some(standing))
    }

    fn existing(&self, account: &str) -> Checked<Standing> {
        Ok(self.find(account)?.ok_or_else(|| Refusal::NoAccount { account: account.to_owned() }))
    }

    fn save(&mut self, account: &str, standing: &Standing) -> Result<(), Error> {
        let value = Writer::new().u64(standing.balance).u64(standing.entries).finish();
        Ok(self.transaction.put(&self.account_row(account), &value)?)
    }

    fn add(&mut self, account: &str, amount: u64, kind: &str, other: Option<&str>) -> Checked<u64> {
        let standing = match self.existing(account)? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match standing.balance.checked_add(amount).filter(|balance| *balance <= AMOUNT_MAX) {
            Some(balance) => self.enter(account, standing, balance, amount, kind, other).map(Ok),
            None => Ok(Err(Refusal::TooMuch { account: account.to_owned() })),
        }
    }

    fn take(&mut self, account: &str, amount: u64, kind: &str, other: Option<&str>) -> Checked<u64> {
        let standing = match self.existing(account)? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match standing.balance.checked_sub(amount) {
            Some(balance) => self.enter(account, standing, balance, amount, kind, other).map(Ok),
            None => Ok(Err(Refusal::NotEnough { account: account.to_owned(), balance: standing.balance })),
        }
    }

    /// Both sides or none: whatever speaks against it is looked at before anything is written.
    fn transfer(&mut self, from: &str, to: &str, amount: u64) -> Checked<u64> {
        let receiver = match self.existing(to)? {
            Ok(receiver) => receiver,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if receiver.balance.saturating_add(amount) > AMOUNT_MAX {
            return Ok(Err(Refusal::TooMuch { account: to.to_owned() }));
        }
        let taken = self.take(from, amount, "transfer-out", Some(to))?;
        if taken.is_ok() {
            self.add(to, amount, "transfer-in", Some(from))?
                .map_err(|_| Error::new("an account changed in between"))?;
        }
        Ok(taken)
    }

    fn enter(
        &mut self,
        account: &str,
        standing: Standing,
        balance: u64,
        amount: u64,
        kind: &str,
        other: Option<&str>,
    ) -> Result<u64, Error> {
        let number = standing.entries + 1;
        let (at_us, kind, other) = (self.transaction.now_us(), kind.to_owned(), other.map(str::to_owned));
        let entry = Entry { number, at_us, kind, other, amount, balance };
        self.transaction.put(&self.entry_row(account, number), &to_json(&entry)?)?;
        self.save(account, &Standing { balance, entries: number })?;
        Ok(balance)
    }

    /// The newest entries numbered below `before`.
    fn statement(&self, account: &str, before: u64, limit: u32) -> Result<Outcome, Error> {
        let limit = limit.clamp(1, PAGE_MAX);
        let range = KeyRange::between(&self.entry_row(account, 0), &self.entry_row(account, before));
        let rows = self.transaction.scan(&range, limit, true)?;
        let entries = rows.iter().map(|row| from_json(&row.value)).collect::<Result<Vec<Entry>, Error>>()?;
        let next_before = entries.last().map(|entry| entry.number).filter(|number| *number > 1);
        Ok(Outcome::Statement { entries, next_before })
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| error.to_string().into())
}

fn from_json<'a, T: Deserialize<'a>>(row: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(row).map_err(|error| Error::new(format!("a damaged row: {error}")))
}
