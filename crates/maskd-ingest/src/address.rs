//! RTSP addresses: the login in one, and the place that it leads to.

use std::fmt;

use percent_encoding::percent_decode_str;

/// What a camera asks of who wants to see.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Option<String>,
}

/// The login in an RTSP address, percent-decoded, and the address without it; `None` where there is none.
///
/// The last `@` before the path ends it, so that a password may hold others.
pub(super) fn split_login(address: &str) -> Option<(Login, String)> {
    let (scheme, rest) = address.split_once("://")?;
    secure(scheme)?;
    let (authority, path) = split_authority(rest);
    let (login, host) = authority.rsplit_once('@')?;
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    // What is no text cannot be set as a property: GStreamer then takes it out of the address itself.
    let decoded = |text| {
        let text = percent_decode_str(text).decode_utf8().ok()?.into_owned();
        (!text.contains('\0')).then_some(text)
    };
    let password = match password {
        Some(password) => Some(decoded(password)?),
        None => None,
    };
    Some((Login { user: decoded(user)?, password }, format!("{scheme}://{host}{path}")))
}

/// Who is asked at an RTSP address: host, port, and whether over TLS. Which transport the packets take is no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    secure: bool,
    host: String,
    port: Option<u16>,
}

impl Place {
    /// The place that an address without a login leads to; `None` where GStreamer might read another out of it.
    pub(super) fn of(address: &str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let secure = secure(scheme)?;
        let (authority, _) = split_authority(rest);
        // The colons of an IPv6 address stand in brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let name = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
        let colons = name.len() < host.len();
        let plain = |c: char| c.is_alphanumeric() || "-._%".contains(c) || (c == ':' && colons);
        if name.is_empty() || !name.chars().all(plain) {
            return None;
        }
        // For RTSP over TLS not all agree which port is meant where none is given.
        let port = port.or((!secure).then_some(554));
        Some(Self { secure, host: host.to_lowercase(), port })
    }

    /// Whether both are asked over TLS, or neither.
    pub(super) fn same_scheme(&self, other: &Self) -> bool {
        self.secure == other.secure
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "rtsps" } else { "rtsp" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Whether an RTSP scheme is over TLS; `None` for others. GStreamer names the wanted transport by a further letter.
fn secure(scheme: &str) -> Option<bool> {
    match scheme.to_ascii_lowercase().as_str() {
        "rtsp" | "rtspt" | "rtspu" | "rtsph" => Some(false),
        "rtsps" | "rtspst" | "rtspsu" | "rtspsh" => Some(true),
        _ => None,
    }
}

/// What stands before the path or the query, and the rest. Unlike elsewhere, `#` is no end: so GStreamer reads it.
fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_an_address() {
        for (address, user, password, bare) in [
            ("rtsp://me:hunter2@cam/1", "me", Some("hunter2"), "rtsp://cam/1"),
            ("rtsp://me:P@ss:w#rd@cam:554/1?a=b@c", "me", Some("P@ss:w#rd"), "rtsp://cam:554/1?a=b@c"),
            ("rtsps://me:P%40ss%2F%25@[::1]:322", "me", Some("P@ss/%"), "rtsps://[::1]:322"),
            ("rtsp://me:100%@cam?x", "me", Some("100%"), "rtsp://cam?x"),
            ("rtspt://me@cam/", "me", None, "rtspt://cam/"),
            ("rtsp://me:@cam/", "me", Some(""), "rtsp://cam/"),
        ] {
            let (login, rest) = split_login(address).unwrap();
            assert_eq!((login.user.as_str(), login.password.as_deref(), rest.as_str()), (user, password, bare));
        }
        for address in [
            "rtsp://cam/1",
            "rtsp://cam:554/user@1?a:b@c",
            "rtsp://me:%ff@cam/",
            "rtsp://me:%00@cam/",
            "http://me:x@cam/",
            "me:x@cam",
            "",
        ] {
            assert!(split_login(address).is_none(), "{address}");
        }
    }

    #[test]
    fn the_same_place_is_told_from_others() {
        let place = |address: &str| Place::of(address);
        for same in ["rtsp://CAM:554", "rtsp://cam?x", "rtspt://cam/other", "RTSPU://cam:0554/"] {
            assert_eq!(place(same), place("rtsp://cam/1"), "{same}");
        }
        for other in ["rtsp://cam2/1", "rtsp://cam:555/1", "rtsps://cam/1", "rtsps://cam:554/1", "rtsp://cam./1"] {
            assert!(place(other).is_some() && place(other) != place("rtsp://cam/1"), "{other}");
        }
        assert_ne!(place("rtsps://cam:322/"), place("rtsps://cam/"));
        assert_eq!(place("rtsp://[FE80::1%eth0]:8554/a"), place("rtsp://[fe80::1%ETH0]:8554/b"));
        for none in [
            "rtsp://",
            "rtsp://cam:80:554/",
            "rtsp://cam:554x/",
            "rtsp://cam:/",
            "rtsp://cam:65536/",
            "rtsp://cam#@other/",
            "rtsp://me:x@cam/",
            "rtsp://cam\\.other/",
            "rtsp://::1/",
            "rtsp://[cam/",
            "rtsp://a b/",
            "rtsp-sdp://v=0",
            "http://cam/",
            "file:///etc/passwd",
            "cam",
        ] {
            assert_eq!(place(none), None, "{none}");
        }
    }

    #[test]
    fn a_place_is_shown_as_an_address() {
        for address in ["rtsp://cam:554", "rtsps://cam", "rtsps://[::1]:322"] {
            assert_eq!(Place::of(address).unwrap().to_string(), address);
        }
    }
}
