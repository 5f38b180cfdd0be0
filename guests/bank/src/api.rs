//! The HTTP API: which command a request is, and which answer an outcome.

use recoil_sdk::{CallError, HttpRequest, HttpResponse, RoutedCall, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ledger::{AMOUNT_MAX, Action, Command, Outcome, PAGE_MAX, Refusal};

/// Bytes of a name or of an idempotency key.
const NAME_BYTES_MAX: usize = 64;

/// Answers a request. Everything that a client can do wrong is an answer, too.
pub(crate) fn respond(request: &HttpRequest, router: &dyn Router) -> HttpResponse {
    let command = match command(request) {
        Ok(command) => command,
        Err(answer) => return answer,
    };
    let body = match serde_json::to_vec(&command) {
        Ok(body) => body,
        Err(error) => return problem(500, &error.to_string()),
    };
    let branch = command.branch.as_bytes();
    let call = match command.action {
        Action::Balance { .. } | Action::Statement { .. } => RoutedCall::read(branch, body),
        _ => RoutedCall::write(branch, body),
    };
    match router.call(&call) {
        Ok(outcome) => match serde_json::from_slice(&outcome) {
            Ok(outcome) => answer(outcome),
            Err(error) => problem(500, &format!("a damaged outcome: {error}")),
        },
        Err(CallError::Unavailable(why)) => problem(503, &format!("{why}; retry")).with_header("retry-after", "1"),
        Err(CallError::UnknownOutcome(why)) => {
            problem(503, &format!("{why}; retry with the same idempotency key")).with_header("retry-after", "1")
        }
        Err(error) => problem(500, recoil_sdk::Error::from(error).message()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    amount: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    from: String,
    to: String,
    amount: u64,
}

fn command(request: &HttpRequest) -> Result<Command, HttpResponse> {
    let segments = request.segments();
    let words: Vec<&str> = segments
        .iter()
        .map(|part| std::str::from_utf8(part).map_err(|_| problem(400, "the path is not UTF-8")))
        .collect::<Result<_, _>>()?;
    let (branch, rest) = match words.as_slice() {
        ["branches", branch, rest @ ..] => (name("the branch", branch)?, rest),
        _ => return Err(problem(404, "there is nothing here; paths begin with /branches/BRANCH/")),
    };
    let account = |account: &str| name("the account", account);
    // The host sends no body in answer to HEAD.
    let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
    let action = match (method, rest) {
        ("PUT", ["accounts", of]) => Action::Open { account: account(of)? },
        ("GET", ["accounts", of]) => Action::Balance { account: account(of)? },
        ("GET", ["accounts", of, "statement"]) => Action::Statement {
            account: account(of)?,
            before: number(request, "before", u64::MAX)?,
            limit: number(request, "limit", PAGE_MAX.into())?.min(PAGE_MAX.into()) as u32,
        },
        ("POST", ["accounts", of, "deposits"]) => {
            Action::Deposit { account: account(of)?, amount: amount(body::<Amount>(request)?.amount)? }
        }
        ("POST", ["accounts", of, "withdrawals"]) => {
            Action::Withdraw { account: account(of)?, amount: amount(body::<Amount>(request)?.amount)? }
        }
        ("POST", ["transfers"]) => {
            let Transfer { from, to, amount: of } = body(request)?;
            Action::Transfer { from: account(&from)?, to: account(&to)?, amount: amount(of)? }
        }
        (_, ["accounts", _]) => return Err(problem(405, "use GET or PUT").with_header("allow", "GET, PUT")),
        (_, ["accounts", _, "statement"]) => return Err(problem(405, "use GET").with_header("allow", "GET")),
        (_, ["accounts", _, "deposits" | "withdrawals"] | ["transfers"]) => {
            return Err(problem(405, "use POST").with_header("allow", "POST"));
        }
        _ => return Err(problem(404, "there is nothing here; see the package's README for what there is")),
    };
    let idempotency_key = request.header("idempotency-key").map(|key| name("the header Idempotency-Key", key));
    let idempotency_key = idempotency_key.transpose()?;
    if action.moves_money() && idempotency_key.is_none() {
        return Err(problem(
            400,
            "the header Idempotency-Key is missing: send a new value for each order, and the same one when repeating it",
        ));
    }
    Ok(Command { branch, action, idempotency_key })
}

fn name(what: &str, name: &str) -> Result<String, HttpResponse> {
    let good = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    let why = || problem(400, &format!("{what} needs 1 to {NAME_BYTES_MAX} bytes without control characters"));
    if good { Ok(name.to_owned()) } else { Err(why()) }
}

fn amount(amount: u64) -> Result<u64, HttpResponse> {
    let good = (1..=AMOUNT_MAX).contains(&amount);
    if good { Ok(amount) } else { Err(problem(400, &format!("an amount is a number from 1 to {AMOUNT_MAX}"))) }
}

fn number(request: &HttpRequest, name: &str, default: u64) -> Result<u64, HttpResponse> {
    let Some(value) = request.query_value(name) else { return Ok(default) };
    let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| problem(400, &format!("{name} is not a number")))
}

fn body<'a, T: Deserialize<'a>>(request: &'a HttpRequest) -> Result<T, HttpResponse> {
    serde_json::from_slice(&request.body).map_err(|error| problem(400, &format!("the body cannot be used: {error}")))
}

fn answer(outcome: Outcome) -> HttpResponse {
    match outcome {
        Outcome::Opened(account) => json_answer(201, &json!(account)),
        Outcome::Account(account) => json_answer(200, &json!(account)),
        Outcome::Statement { entries, next_before } => {
            json_answer(200, &json!({ "entries": entries, "next_before": next_before }))
        }
        Outcome::Repeated(first) => answer(*first).with_header("idempotent-replayed", "true"),
        Outcome::Refused(refusal) => match refusal {
            Refusal::NoAccount { account } => problem(404, &format!("there is no account {account}: open it with PUT")),
            Refusal::NotEnough { account, balance } => {
                problem(409, &format!("account {account} has {balance}, which is not enough"))
            }
            Refusal::TooMuch { account } => {
                problem(409, &format!("account {account} cannot hold more than {AMOUNT_MAX}"))
            }
            Refusal::SameAccount => problem(400, "both accounts are the same"),
            Refusal::KeyReused => problem(422, "the Idempotency-Key was used for another order: use a new one"),
        },
    }
}

fn json_answer(status: u16, value: &Value) -> HttpResponse {
    HttpResponse::json(status, value.to_string())
}

/// RFC 9457.
fn problem(status: u16, detail: &str) -> HttpResponse {
    let body = json!({ "status": status, "detail": detail }).to_string();
    HttpResponse::new(status).with_body("application/problem+json", body)
}
