//! What passes in an RTSP connection, as far as needed: where a key frame begins (RFC 2326 10.12, 6184, 7798, 2435).

/// Follows the bytes from a camera and notices key frames.
#[derive(Default)]
pub struct KeyFrames {
    kept: Vec<u8>,
    codec: Codec,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Codec {
    #[default]
    H264,
    H265,
    /// Each picture is whole.
    Jpeg,
}

/// More than any answer or packet of the cameras here.
const MOST: usize = 256 * 1024;

impl KeyFrames {
    /// Takes what passed next; says whether a key frame began in it.
    pub fn passed(&mut self, bytes: &[u8]) -> bool {
        self.kept.extend_from_slice(bytes);
        let (mut at, mut found) = (0, false);
        while let Some(length) = self.unit(&self.kept[at..]) {
            let unit = &self.kept[at..at + length];
            // Channel 0 carries the pictures, 1 their reports.
            if unit[0] == b'$' {
                found |= unit[1] == 0 && length > 4 && self.begins_key_frame(&unit[4..]);
            } else {
                let names = |name: &str| unit.windows(name.len()).any(|w| w.eq_ignore_ascii_case(name.as_bytes()));
                for (name, codec) in
                    [("H264/90000", Codec::H264), ("H265/90000", Codec::H265), ("JPEG/90000", Codec::Jpeg)]
                {
                    if names(name) {
                        self.codec = codec;
                    }
                }
            }
            at += length;
        }
        self.kept.drain(..at);
        if self.kept.len() > MOST {
            // Spoiled beyond recognition: whatever comes next is looked at from its start.
            self.kept.clear();
        }
        found
    }

    /// Bytes of the packet or answer that `bytes` begin with; `None` where it is not all there.
    fn unit(&self, bytes: &[u8]) -> Option<usize> {
        if *bytes.first()? == b'$' {
            let length = 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
            return (bytes.len() >= length).then_some(length);
        }
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let body = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let length = end + body.unwrap_or(0);
        (bytes.len() >= length).then_some(length)
    }

    fn begins_key_frame(&self, packet: &[u8]) -> bool {
        let head = 12 + 4 * usize::from(packet.first().map_or(0, |first| first & 15));
        let Some(payload) = packet.get(head..).filter(|payload| payload.len() > 2) else { return false };
        match self.codec {
            Codec::Jpeg => true,
            Codec::H264 => match payload[0] & 31 {
                // A fragment's second byte says what it is of, and whether it is the first.
                28 => payload[1] & 31 == 5 && payload[1] & 0x80 != 0,
                kind => kind == 5,
            },
            Codec::H265 => match payload[0] >> 1 & 63 {
                49 => (16..=21).contains(&(payload[2] & 63)) && payload[2] & 0x80 != 0,
                kind => (16..=21).contains(&kind),
            },
        }
    }
}

#[test]
fn a_key_frame_is_noticed_however_the_bytes_arrive() {
    let packet = |channel: u8, payload: &[u8]| {
        let mut all = vec![b'$', channel, 0, 12 + payload.len() as u8, 0x80, 96];
        all.extend([0; 10]);
        all.extend_from_slice(payload);
        all
    };
    let mut stream = b"RTSP/1.0 200 OK\r\nContent-Length: 22\r\n\r\na=rtpmap:96 H264/90000".to_vec();
    stream.extend(packet(1, &[5, 5, 5, 5]));
    stream.extend(packet(0, &[0x61, 1, 2, 3]));
    stream.extend(packet(0, &[0x7c, 0x05, 2, 3]));
    let key = stream.len();
    stream.extend(packet(0, &[0x7c, 0x85, 2, 3]));
    let mut whole = KeyFrames::default();
    assert!(!whole.passed(&stream[..key]));
    assert!(whole.passed(&stream[key..]));
    let mut bit_by_bit = KeyFrames::default();
    let found: Vec<usize> = (0..stream.len()).filter(|&i| bit_by_bit.passed(&stream[i..=i])).collect();
    assert_eq!(found, [stream.len() - 1]);
}
