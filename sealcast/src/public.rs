//! The certificate that viewers see, when it is not the node's own: files of somebody else's making, or from an ACME server.

use std::sync::Arc;

use node::acme::Acme;
use node::tls::PublicPaths;

use crate::settings;

/// Has a node that viewers connect to show what the settings say. The returned part has to run.
///
/// # Errors
/// Names the field or file.
pub(crate) fn load(settings: &settings::File, context: &node::Context) -> anyhow::Result<Option<Acme>> {
    if let (Some(certificate), Some(key)) = (&settings.node.public_certificate, &settings.node.public_key) {
        let (certificate, key) = (certificate.clone(), key.clone());
        context.identity.add_public(PublicPaths { certificate, key, is_made_later: false, challenges: None })?;
    }
    let acme = settings.acme.clone().map(|config| {
        let identity = Arc::clone(&context.identity);
        Acme::load(config, identity, context.clock, &context.data)
    });
    acme.transpose()
}
