//! Which rows there are, and why some are not tried here. A named row that is in no case must be in
//! this list, and one that is in a case must not be: a reason does not outlive its truth.

/// Rows of BAD_INPUT.md that this runner answers for, and promises that it shows in small.
pub const NAMED: &[&str] = &[
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19",
    "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32", "33", "34", "35", "36",
    "37", "38", "39", "40", "41", "42", "43", "44", "45", "46", "47", "48", "49", "50", "51", "52", "53",
    "54", "55", "56", "57", "58", "59", "60", "61", "62", "63", "64", "65", "66", "67", "68", "69", "70",
    "71", "72", "73", "74", "75", "76", "77", "78", "79", "80", "81", "82", "83", "84", "85", "86", "87",
    "88", "89", "90", "91", "92", "93", "94", "95", "96", "97", "98", "99", "100", "P12", "P13", "P16",
    "seed 004",
];

/// (rows, why they are not tried here).
pub const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["45", "46"],
        "there is no root rotation and no update metadata: trust is the file trust.json, exchanged whole",
    ),
    (
        &["47"],
        "certificates: held by providers/http-server (serving) and lattice/io (tls) on real TLS sockets",
    ),
    (
        &["71", "72"],
        "there is no security policy document: what denies are claims, links and grants (row 60)",
    ),
    (&["88"], "there are no replicated types yet"),
];
