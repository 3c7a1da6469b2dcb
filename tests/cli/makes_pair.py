"""Makes a key pair on the token that the environment names: a process of its own, for the library looks only once."""

from tests.fakes import softhsm

softhsm.make_pair()
