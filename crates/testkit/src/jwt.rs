//! Tokens (JWT) signed with `aws-lc-rs` directly, so that they share no code with what reads them, and the claims of known issuers.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RsaKeyPair,
};
use aws_lc_rs::{encoding::PublicKeyX509Der, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key of an issuer.
pub struct SigningKey {
    pub key_id: String,
    pair: Pair,
}

impl SigningKey {
    /// 2,048 bits; RS256 unless told otherwise.
    pub fn rsa(key_id: &str) -> Self {
        Self { key_id: key_id.to_owned(), pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub fn p256(key_id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { key_id: key_id.to_owned(), pair: Pair::P256(pair) }
    }

    pub fn p384(key_id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self { key_id: key_id.to_owned(), pair: Pair::P384(pair) }
    }

    pub fn ed25519(key_id: &str) -> Self {
        Self { key_id: key_id.to_owned(), pair: Pair::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// The public key as issuers publish it (RFC 7517).
    pub fn jwk(&self) -> Value {
        let halves = |point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            (encode(x), encode(y))
        };
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({
                    "kty": "RSA",
                    "n": encode(n.big_endian_without_leading_zero()),
                    "e": encode(e.big_endian_without_leading_zero()),
                })
            }
            Pair::P256(pair) => {
                let (x, y) = halves(pair.public_key().as_ref());
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
            }
            Pair::P384(pair) => {
                let (x, y) = halves(pair.public_key().as_ref());
                json!({"kty": "EC", "crv": "P-384", "x": x, "y": y})
            }
            Pair::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}),
        };
        jwk["kid"] = self.key_id.as_str().into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().into();
        jwk
    }

    /// The public key in the forms that an attacker may take for a secret of HMAC: PEM, DER and the modulus of the JWK. RSA only.
    pub fn public_forms(&self) -> Vec<Vec<u8>> {
        let Pair::Rsa(pair) = &self.pair else { panic!("an RSA key has these forms") };
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        let lines: Vec<_> = STANDARD
            .encode(der.as_ref())
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        let modulus = self.jwk()["n"].as_str().unwrap().as_bytes().to_vec();
        let raw = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
        vec![pem.into_bytes(), der.as_ref().to_vec(), modulus, raw]
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_as(self.algorithm(), claims)
    }

    /// A token whose header names this algorithm, and that is signed so.
    pub fn token_as(&self, algorithm: &str, claims: &Value) -> String {
        self.signed(&json!({"alg": algorithm, "typ": "JWT", "kid": self.key_id}), &claims.to_string())
    }

    /// A token with this header; claims as text, for what no JSON library writes.
    pub fn signed(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.as_bytes()));
        let algorithm = header["alg"].as_str().unwrap_or_default();
        format!("{message}.{}", encode(&self.sign(algorithm, message.as_bytes())))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding: &'static dyn signature::RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signed).unwrap();
                signed
            }
            Pair::P256(pair) | Pair::P384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token whose signature is an HMAC with this secret, whatever algorithm its header names.
pub fn mac(algorithm: &str, key_id: &str, claims: &Value, secret: &[u8]) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT", "kid": key_id});
    let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let hash = match algorithm {
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let tag = hmac::sign(&hmac::Key::new(hash, secret), message.as_bytes());
    format!("{message}.{}", encode(tag.as_ref()))
}

/// A token without a signature (RFC 7519, section 6).
pub fn unsigned(claims: &Value) -> String {
    format!("{}.{}.", encode(br#"{"alg":"none"}"#), encode(claims.to_string().as_bytes()))
}

/// The token with other claims under the old signature.
pub fn with_claims(token: &str, claims: &Value) -> String {
    let mut parts = token.split('.');
    let (header, _, signature) = (parts.next().unwrap(), parts.next(), parts.next().unwrap());
    format!("{header}.{}.{signature}", encode(claims.to_string().as_bytes()))
}

/// What a Supabase project's access tokens say. <https://supabase.com/docs/guides/auth/jwt-fields>
pub fn supabase(issuer: &str, now_s: i64) -> Value {
    json!({
        "iss": issuer,
        "aud": "authenticated",
        "exp": now_s + 3_600,
        "iat": now_s,
        "sub": "123e4567-e89b-12d3-a456-426614174000",
        "role": "authenticated",
        "aal": "aal1",
        "session_id": "123e4567-e89b-12d3-a456-426614174001",
        "email": "streamer@example.com",
        "phone": "",
        "is_anonymous": false,
        "amr": [{"method": "password", "timestamp": now_s}],
        "app_metadata": {"provider": "email", "providers": ["email"], "role": "streamer", "streams": ["hall"]},
        "user_metadata": {},
    })
}

/// What Keycloak's access tokens say, with a mapper that adds `sealcast_streams`.
pub fn keycloak(issuer: &str, now_s: i64) -> Value {
    json!({
        "exp": now_s + 300,
        "iat": now_s,
        "auth_time": now_s,
        "jti": "onrtac:123e4567-e89b-12d3-a456-426614174002",
        "iss": issuer,
        "aud": "account",
        "sub": "123e4567-e89b-12d3-a456-426614174003",
        "typ": "Bearer",
        "azp": "obs",
        "sid": "123e4567-e89b-12d3-a456-426614174004",
        "acr": "1",
        "allowed-origins": ["https://live.example"],
        "realm_access": {"roles": ["default-roles-live", "offline_access", "streamer"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid profile email",
        "email_verified": true,
        "preferred_username": "streamer",
        "sealcast_streams": ["hall"],
    })
}

/// What Keycloak's ID tokens say: `aud` is the client, as of an access token for it.
pub fn keycloak_id_token(issuer: &str, now_s: i64) -> Value {
    let mut claims = keycloak(issuer, now_s);
    claims["typ"] = "ID".into();
    claims["aud"] = "obs".into();
    claims["at_hash"] = "sLjJ7zJ2qZ3xJ2qZ3xJ2qQ".into();
    claims
}
