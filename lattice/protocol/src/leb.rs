//! LEB128 in its shortest form only: a number has one encoding, so a value has one, and a peer
//! cannot hide data in padding.

/// Why a number could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LebError {
    /// The input ended inside it.
    Truncated,
    /// Longer than its shortest form.
    Overlong,
    /// More than 64 bits.
    TooBig,
}

/// Reads a number from the front of some bytes: the number, and how many bytes it took.
pub type Read<N> = fn(&[u8]) -> Result<(N, usize), LebError>;

/// Appends an unsigned number: 1 to 10 bytes.
pub fn write_unsigned(mut number: u64, out: &mut Vec<u8>) {
    loop {
        // The mask keeps seven bits: the cast cannot lose any.
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a signed number: 1 to 10 bytes.
pub fn write_signed(mut number: i64, out: &mut Vec<u8>) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        let sign_is_told = (number == 0 && low & 0x40 == 0) || (number == -1 && low & 0x40 != 0);
        if sign_is_told {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads an unsigned number from the front: the number, and how many bytes it took.
///
/// # Errors
/// [`LebError`].
pub fn read_unsigned(input: &[u8]) -> Result<(u64, usize), LebError> {
    let mut number = 0_u64;
    for (index, byte) in input.iter().take(10).enumerate() {
        if index == 9 && *byte > 1 {
            return Err(LebError::TooBig);
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let overlong = *byte == 0 && index > 0;
            return if overlong { Err(LebError::Overlong) } else { Ok((number, index + 1)) };
        }
    }
    Err(if input.len() < 10 { LebError::Truncated } else { LebError::TooBig })
}

/// Reads a signed number from the front: the number, and how many bytes it took.
///
/// # Errors
/// [`LebError`].
pub fn read_signed(input: &[u8]) -> Result<(i64, usize), LebError> {
    let mut number = 0_i64;
    let mut previous = 0_u8;
    for (index, byte) in input.iter().take(10).enumerate() {
        if index == 9 && !matches!(byte, 0x00 | 0x7f) {
            return Err(LebError::TooBig);
        }
        let shift = 7 * index;
        number |= i64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let repeats_the_sign =
                (*byte == 0x00 && previous & 0x40 == 0) || (*byte == 0x7f && previous & 0x40 != 0);
            if index > 0 && repeats_the_sign {
                return Err(LebError::Overlong);
            }
            if byte & 0x40 != 0 && shift + 7 < 64 {
                number |= -1_i64 << (shift + 7);
            }
            return Ok((number, index + 1));
        }
        previous = *byte;
    }
    Err(if input.len() < 10 { LebError::Truncated } else { LebError::TooBig })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_shortest_form_is_read() {
        for (bytes, error) in [
            (&[][..], LebError::Truncated),
            (&[0x80], LebError::Truncated),
            (&[0x80, 0x00], LebError::Overlong),
            (&[0xff, 0x80, 0x00], LebError::Overlong),
            (&[0xff; 10], LebError::TooBig),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], LebError::TooBig),
        ] {
            assert_eq!(read_unsigned(bytes), Err(error), "{bytes:x?}");
        }
        for (bytes, error) in [
            (&[0x80, 0x00][..], LebError::Overlong),
            (&[0xff, 0x7f], LebError::Overlong),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], LebError::TooBig),
        ] {
            assert_eq!(read_signed(bytes), Err(error), "{bytes:x?}");
        }
        assert_eq!(read_signed(&[0xc0, 0x00]), Ok((64, 2)), "the second byte tells the sign");
        assert_eq!(read_signed(&[0x40]), Ok((-64, 1)));
    }

    proptest! {
        #[test]
        fn numbers_read_back(unsigned: u64, signed: i64) {
            let mut out = Vec::new();
            write_unsigned(unsigned, &mut out);
            prop_assert_eq!(read_unsigned(&out), Ok((unsigned, out.len())));
            out.clear();
            write_signed(signed, &mut out);
            prop_assert_eq!(read_signed(&out), Ok((signed, out.len())));
        }

        #[test]
        fn what_is_read_is_what_would_be_written(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Ok((number, taken)) = read_unsigned(&bytes) {
                let mut out = Vec::new();
                write_unsigned(number, &mut out);
                prop_assert_eq!(&out[..], &bytes[..taken]);
            }
            if let Ok((number, taken)) = read_signed(&bytes) {
                let mut out = Vec::new();
                write_signed(number, &mut out);
                prop_assert_eq!(&out[..], &bytes[..taken]);
            }
        }
    }
}
