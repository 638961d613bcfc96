//! Secrets that credentials are delivered to: their form, their content, and what one holds that was read.
//!
//! Pure: no I/O, no clock. Start with [`SecretForm`]: presets and the free form of an inventory both become one.

mod content;
mod form;
mod held;
mod registration;

pub(crate) use self::content::{SecretChange, SecretContent};
pub(crate) use self::form::{KubeconfigNames, Piece, Rotation, SecretForm, SecretTarget};
pub(crate) use self::held::{HeldSecret, holds_minted, is_minted};
pub(crate) use self::registration::{Departure, Registration, RegistrationChange, RegistrationForm};
