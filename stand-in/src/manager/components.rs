//! How a manager deals with its components: `POST /api/admin/register_component`,
//! `POST /api/admin/refresh_token`, and an agent's heartbeat.
//!
//! The request of the first is the one in Kasm's issue 866. What the successful answer's fields are called,
//! the whole of the second, and the heartbeat could not be found out: they are the stand-in's own choice. A
//! failure is status 200 with `error_message` (`docs/kasm-facts.md`, 5).

use super::jwt::{self, CERTIFICATE, Signer};
use crate::http::Request;
use serde_json::{Value, json};
use std::time::Duration;

/// What an administrator has set, and what goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// The registration token of this deployment; `None`: any will do that is not an expired JWT.
    pub registration_token: Option<String>,
    /// The manager token of this deployment; `None`: any will do.
    pub manager_token: Option<String>,
    /// Every registration is refused with these words.
    pub refusal: Option<String>,
    /// How long a new auth token is good for.
    pub lifespan: Duration,
    /// How long after its expiry a token can still be exchanged for a new one.
    pub grace: Duration,
    /// What is wrong with new auth tokens.
    pub issue: Issue,
}

/// What is wrong with the auth tokens that a manager gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Issue {
    /// Nothing.
    #[default]
    Good,
    /// They expired so long ago.
    Expired(Duration),
    /// They are of the other class: 90 for guac, 80 for the RDP gateways.
    WrongClass,
    /// Another key signed them than that of the certificate.
    OtherKey,
    /// They belong to another component.
    OtherComponent,
    /// They are the word `false`.
    False,
    /// They are good, but no certificate comes with them.
    NoCertificate,
}

impl Default for Registry {
    /// Takes any registration token; auth tokens are good for three days and for three more to be exchanged.
    fn default() -> Registry {
        let three_days = Duration::from_secs(3 * 24 * 60 * 60);
        Registry {
            registration_token: None,
            manager_token: None,
            refusal: None,
            lifespan: three_days,
            grace: three_days,
            issue: Issue::Good,
        }
    }
}

/// A registration that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The component's id, as it came.
    pub id: String,
    /// `GUAC`, `RDP-GATEWAY`, …, as it came.
    pub kind: String,
    /// Whether it was granted.
    pub granted: bool,
}

/// Every registration in these requests, judged as this registry would now.
pub(super) fn registrations(requests: &[Request], registry: &Registry) -> Vec<Registration> {
    let asked = requests.iter().filter(|request| request.method == "POST" && request.target == REGISTER);
    asked
        .map(|request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let text = |key: &str| body["target_component"][key].as_str().unwrap_or_default().to_owned();
            Registration {
                id: text("id"),
                kind: text("connection_proxy_type"),
                granted: registry.register(&body).is_ok(),
            }
        })
        .collect()
}

const REGISTER: &str = "/api/admin/register_component";
const REFRESH: &str = "/api/admin/refresh_token";

/// The answer's document; `None` for a request that is none of these.
pub(super) fn answer(request: &Request, registry: &Registry) -> Option<Value> {
    if request.method != "POST" {
        return None;
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let answer = match request.target.as_str() {
        REGISTER => registry.register(&body),
        REFRESH => registry.refresh(&body),
        path if path.ends_with("/heartbeat") => registry.heartbeat(&body),
        _ => return None,
    };
    Some(answer.unwrap_or_else(|words| json!({ "error_message": words })))
}

type Answer = Result<Value, String>;

impl Registry {
    fn register(&self, body: &Value) -> Answer {
        let component = &body["target_component"];
        let (Some(id), Some(token)) = (component["id"].as_str(), body["token"].as_str()) else {
            return Err("Invalid request".into());
        };
        if let Some(words) = &self.refusal {
            return Err(words.clone());
        }
        // An expired one is expired even where it is the very one that was given out.
        if jwt::claims(token).is_ok_and(|claims| claims["exp"].as_i64().is_some_and(|exp| exp <= jwt::now())) {
            return Err("The JWT token has expired.".into());
        }
        if self.registration_token.as_ref().is_some_and(|right| right != token) {
            let words = jwt::verified(token).err().unwrap_or("Signature verification failed");
            return Err(format!("Error while decoding token: {words}"));
        }
        let class = if component["connection_proxy_type"] == "GUAC" { 80 } else { 90 };
        Ok(self.issue(id, class))
    }

    fn refresh(&self, body: &Value) -> Answer {
        let token = body["token"].as_str().unwrap_or_default();
        let claims = jwt::verified(token).map_err(|words| format!("Error while decoding token: {words}"))?;
        let (Some(id), Some(expired), Some(class)) =
            (claims["connection_proxy_id"].as_str(), claims["exp"].as_i64(), claims["authorizations"][0].as_u64())
        else {
            return Err("Invalid request".into());
        };
        if jwt::now() > expired.saturating_add(seconds(self.grace)) {
            return Err("Token has been expired beyond the configured refresh period".into());
        }
        Ok(self.issue(id, class))
    }

    fn heartbeat(&self, body: &Value) -> Answer {
        match &self.manager_token {
            Some(right) if body["token"] != right.as_str() => Err("Invalid manager token".into()),
            _ => Ok(json!({ "ok": true })),
        }
    }

    fn issue(&self, id: &str, class: u64) -> Value {
        let good = jwt::now() + seconds(self.lifespan);
        let other_id = "0123456789abcdef0123456789abcdef";
        let token = match self.issue {
            Issue::Good | Issue::NoCertificate => jwt::auth_token(id, good, &[class], Signer::Manager),
            Issue::Expired(ago) => jwt::auth_token(id, jwt::now() - seconds(ago), &[class], Signer::Manager),
            Issue::WrongClass => jwt::auth_token(id, good, &[170 - class], Signer::Manager),
            Issue::OtherKey => jwt::auth_token(id, good, &[class], Signer::Another),
            Issue::OtherComponent => jwt::auth_token(other_id, good, &[class], Signer::Manager),
            Issue::False => "false".into(),
        };
        let certificate = if self.issue == Issue::NoCertificate { "" } else { CERTIFICATE };
        json!({ "auth_token": token, "public_jwt_cert": certificate })
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4)
}
