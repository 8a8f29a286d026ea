//! `POST /api/set_server_status?token=…` (`docs/kasm-facts.md`, 6): how a server of a pool tells how far it is.

use super::jwt;
use crate::http::{self, Request, Stream};
use serde_json::{Value, json};
use std::io;

/// What goes wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CheckInFault {
    /// Nothing.
    #[default]
    None,
    /// Status 200, and these words as `error_message`.
    Words(String),
    /// This status and nothing else.
    Status(&'static str),
    /// It is never answered.
    Silent,
    /// Status 200 and a web page.
    Page,
}

const PATH: &str = "/api/set_server_status";

/// The token in the query, where there is one.
fn token(request: &Request) -> Option<&str> {
    let (path, query) = request.target.split_once('?')?;
    (path == PATH).then(|| query.split('&').find_map(|pair| pair.strip_prefix("token=")))?
}

/// True if the request is one of these.
pub(super) fn is_one(request: &Request) -> bool {
    request.method == "POST" && request.target.split('?').next() == Some(PATH)
}

/// What was told with a token that is good, first to last.
pub(super) fn told(requests: &[Request]) -> Vec<Value> {
    let good = |request: &&Request| is_one(request) && judge(request).is_ok();
    requests.iter().filter(good).filter_map(|request| serde_json::from_slice(&request.body).ok()).collect()
}

fn judge(request: &Request) -> Result<(), String> {
    let claims = jwt::verified(token(request).unwrap_or_default())
        .map_err(|words| format!("Error while decoding token: {words}"))?;
    if claims["exp"].as_i64().is_some_and(|exp| exp <= jwt::now()) {
        return Err("The JWT token has expired.".into());
    }
    Ok(())
}

pub(super) fn answer(request: &Request, stream: &mut dyn Stream, fault: &CheckInFault) -> io::Result<()> {
    let json = |stream: &mut dyn Stream, document: Value| {
        http::respond(stream, "200 OK", &[("Content-Type", "application/json")], document.to_string().as_bytes())
    };
    match fault {
        CheckInFault::Words(words) => json(stream, json!({ "error_message": words })),
        CheckInFault::Status(status) => http::respond(stream, status, &[], b""),
        CheckInFault::Page => http::respond(stream, "200 OK", &[], b"<html>Please log in</html>"),
        CheckInFault::Silent => {
            // Until the client has had enough.
            let mut one = [0];
            let _ = stream.read(&mut one);
            Ok(())
        }
        CheckInFault::None => match judge(request) {
            Ok(()) => json(stream, json!({})),
            Err(words) => json(stream, json!({ "error_message": words })),
        },
    }
}
