//! The list of attacks.
//!
//! Pure data. The list is written once: the variants, their names and [`Hostility::all`] come from it.

/// Makes the enum, the names and the list of all from one table.
macro_rules! hostilities {
    ($($(#[doc = $doc:literal])+ $variant:ident $(($type:ty) = $example:expr)?, $name:literal;)+) => {
        /// One way to attack a client.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Hostility {
            $($(#[doc = $doc])+ $variant $(($type))?,)+
        }

        impl Hostility {
            /// Returns every way, with an example of what some need to know.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant $(({ let example: $type = $example.into(); example }))?,)+]
            }

            /// Returns the name, for what tests print and for the names of clusters.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

hostilities! {
    // Bodies.
    /// Every list has one more page for ever, each of several hundred kB and with new objects.
    EndlessList, "endless-list";
    /// Every list has one more page for ever, and no page has any object.
    EndlessListEmpty, "endless-list-empty";
    /// Every GET is answered with valid JSON of 60 MiB.
    HugeAnswer, "huge-answer";
    /// Every answer has a header of 4 MiB.
    HugeHeader, "huge-header";
    /// Every answer has 5,000 headers.
    ManyHeaders, "many-headers";
    /// Every answer comes byte by byte, one every 500 ms, and never ends.
    SlowDrip, "slow-drip";
    /// Every GET is answered with 200,000 nested arrays.
    DeepJson, "deep-json";
    /// Every GET is answered with a body of 6.5 MB, said to be gzip, that unpacks to 1 GB and lacks its checksum.
    GzipBomb, "gzip-bomb";
    /// Every list holds 200,000 tiny objects in one page.
    ManyObjects, "many-objects";

    // Writes, and answers that never let a client go on.
    /// Writes are not carried out, and answered with 200 and a `Status` of `Failure`.
    OkFailure, "ok-failure";
    /// Writes are not carried out, and answered with 200 and `{}`.
    OkNothing, "ok-nothing";
    /// A DELETE is not carried out, and answered with 200 and a `Status` of `Success`.
    OkLieDelete, "ok-lie-delete";
    /// A DELETE only marks the object, which stays until the hostility is lifted.
    DeleteWithoutEnd, "delete-without-end";
    /// Every POST and PATCH of an object or a token is answered with 409.
    ConflictForever, "conflict-forever";
    /// Everything is answered with 429 and the request to come back in a day.
    ThrottleForever, "throttle-forever";
    /// Everything is answered with 429 and a `Retry-After` that is no time.
    ThrottleGarbage, "throttle-garbage";
    /// Every list is answered with 410.
    GoneForever, "gone-forever";
    /// Everything is answered with 307 to this URL, with path and query; see [`Witness`](super::Witness).
    Redirect(String) = "http://127.0.0.1:9", "redirect";

    // Tokens; the server accepts those that it issues, however long they are over.
    /// Tokens have expired an hour ago.
    PastToken, "past-token";
    /// Tokens do not say when they were issued nor when they expire.
    TimelessToken, "timeless-token";
    /// Tokens expire in the year 9999.
    FarToken, "far-token";
    /// Tokens expire after 2^53 seconds, further than calendars go.
    FartherToken, "farther-token";
    /// Tokens are those of another ServiceAccount, `intruder`, which exists.
    ForeignToken, "foreign-token";
    /// Tokens are not bound to the Secret that was asked for.
    UnboundToken, "unbound-token";
    /// Tokens are 1 MiB of quotes, newlines, NUL and ESC.
    HostileToken, "hostile-token";

    // Words.
    /// Labels, annotations, finalizers, managers, rules, refusals and warnings attack a terminal.
    EscapeText, "escape-text";
    /// Writes are refused with messages, reasons and causes that attack a terminal.
    EscapeErrors, "escape-errors";
    /// Names in lists, labels, annotations and managers are shell commands.
    ShellText, "shell-text";
    /// Writes are refused with messages that repeat the caller's `Authorization`; so do labels of objects.
    EchoCredentials, "echo-credentials";
    /// Everything is refused with HTML that repeats the caller's `Authorization`.
    EchoCredentialsHtml, "echo-credentials-html";
    /// The indexes on ServiceAccounts name anchors and holders that are paths to elsewhere.
    TraversalIndex, "traversal-index";

    // Shapes.
    /// Revisions, uids, counts and the numbers in indexes are huge, negative, fractions or words.
    Numbers, "numbers";
    /// Every field of metadata has a wrong type.
    WrongTypes, "wrong-types";
    /// Lists have no items and no metadata, but `null`; so do lists within objects.
    NullItems, "null-items";
    /// Lists hold `null`, numbers and words among their objects.
    NullObjects, "null-objects";
    /// Objects and lists are of another kind than asked for.
    OtherKind, "other-kind";
    /// Objects have another name than asked for.
    OtherName, "other-name";
    /// Objects have another uid in every answer.
    OtherUid, "other-uid";

    // Lies.
    /// The namespace kube-system has this uid, which is another cluster's.
    OtherClusterUid(String) = "00000000-0000-4000-8000-000000000000", "other-cluster-uid";
    /// The `Date` header is this many seconds ahead of the times in tokens and objects.
    ClockAhead(i64) = 720, "clock-ahead";
    /// The `Date` header is of the year 9999.
    ClockAbsurd, "clock-absurd";
    /// The `Date` header is no date.
    ClockGarbage, "clock-garbage";
    /// Whoever asks may do everything, and is said to be `system:anonymous`.
    AnonymousYes, "anonymous-yes";
    /// A SelfSubjectReview names somebody else.
    WrongWho, "wrong-who";
    /// Every SelfSubjectAccessReview says yes.
    EverythingAllowed, "everything-allowed";
    /// Every SelfSubjectAccessReview says no.
    EverythingDenied, "everything-denied";

    // Wire.
    /// Connections are accepted, and nothing ever comes back.
    AcceptAndHang, "accept-and-hang";
    /// The TLS handshake stops in the middle of the server's first message.
    TlsHang, "tls-hang";
    /// The server ends its side of the connection after the head of an answer, and stays.
    HalfClose, "half-close";
    /// Requests are answered with frames of HTTP/2 and then with 1 MiB of garbage.
    Http2Garbage, "http2-garbage";
    /// The port speaks HTTP without TLS.
    PlainHttp, "plain-http";
}
