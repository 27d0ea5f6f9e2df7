"""Every limit of an enrolment by a code, with its reason."""

MAX_PAYLOAD = 256 * 1024  #: bytes of a request or response: as an enrolment file; two post-quantum chains have 110 KiB
MAX_REPORT = 4096  #: bytes of the last word: a path, rights and a sentence
TALK_SECONDS = 20.0  #: from connecting to the request: keys are made before, so two round trips, on a slow link
ANSWER_SECONDS = 120.0  #: for each step after the request: a chip that signs, a disk that keeps keys
