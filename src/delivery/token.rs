//! Files with a token and nothing else, as Prometheus reads them: whose a token is, which it proves itself.
//!
//! The name of the anchor that a token is bound to is computed from the ServiceAccount, its uid, the inventory, the holder and
//! the generation; all but the inventory stand in the claims, so nothing else has to be written down. Pure: no I/O, no clock.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::credential::{Claims, CredentialFacts, StoredCredential};
use crate::kubeconfig::{OtherHolder, facts_of, may_replace_token};
use crate::names::{AnchorOf, Holder, InventoryName, anchor_of_name};
use crate::secret::SecretToken;

/// Whose token a file should hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct TokenOwner {
    /// The inventory.
    pub inventory: InventoryName,
    /// The holder.
    pub holder: Holder,
    /// The name of the ServiceAccount.
    pub account: String,
    /// The user that the API server takes the token for.
    pub user: String,
}

/// A token of ours that was read from a file. It cannot be formatted.
#[derive(Clone, Default)]
pub(crate) struct HeldToken {
    /// The token of the grant and holder in question, with the facts about it.
    pub credential: Option<(StoredCredential, CredentialFacts)>,
    /// The holder whose credential it has, if that is another one.
    pub other_holder: Option<OtherHolder>,
}

impl fmt::Debug for HeldToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldToken")
    }
}

/// Something in a file that is no token of ours, as the end of a sentence about it.
pub(crate) type NotOurs = &'static str;

impl TokenOwner {
    /// Reads the content of a file; an empty one holds nothing.
    ///
    /// # Errors
    ///
    /// If it holds something else than a token of this grant, whoever's it is.
    pub(crate) fn read(&self, content: &[u8]) -> Result<Option<HeldToken>, NotOurs> {
        const NO_TOKEN: NotOurs = "holds something else than a token";
        let text = std::str::from_utf8(content).map_err(|_| NO_TOKEN)?.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if !may_replace_token(text) {
            return Err(NO_TOKEN);
        }
        let token = SecretToken::new(text);
        // One that was cut off says nothing of whose it was.
        let claims = Claims::of(&token).map_err(|_| "holds a token that cannot be read")?;
        let uid = claims.service_account_uid.as_deref().unwrap_or_default();
        let anchor = claims.anchor_name.as_deref().unwrap_or_default();
        let of = anchor_of_name(anchor, &self.account, uid, &self.inventory).filter(|_| claims.subject == self.user);
        let Some((holder, AnchorOf::Generation(_))) = of else { return Err("holds a token of somebody else") };
        let facts = facts_of(&claims).ok_or("holds a token that cannot be read")?;
        if holder != self.holder {
            let token = Some((facts.generation, facts.expires));
            let other = OtherHolder { holder: holder.to_string(), token };
            return Ok(Some(HeldToken { credential: None, other_holder: Some(other) }));
        }
        let stored = StoredCredential { generation: facts.generation, token, claims };
        Ok(Some(HeldToken { credential: Some((stored, facts)), other_holder: None }))
    }
}
