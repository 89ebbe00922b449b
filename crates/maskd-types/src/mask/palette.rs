//! The colours of labels: the same in PNG files, overlays and viewers.

/// The colour map of PASCAL VOC and DAVIS, RGB: the bits of a label, three at a time from the lowest,
/// become the bits of red, green and blue from the highest. 0 is black, 1 dark red, 2 dark green.
pub fn palette() -> [[u8; 3]; 256] {
    std::array::from_fn(|label| {
        let mut colour = [0u8; 3];
        for level in 0..8 {
            for (channel, value) in colour.iter_mut().enumerate() {
                let bit = (label >> (3 * level + channel)) & 1;
                *value |= (bit as u8) << (7 - level);
            }
        }
        colour
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_colours_are_those_of_pascal_voc() {
        let colours = palette();
        let voc = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [0, 128, 128]];
        assert_eq!(colours[..7], voc);
        assert_eq!((colours[8], colours[21], colours[255]), ([64, 0, 0], [128, 64, 128], [224, 224, 192]));
    }
}
