"""What the examples share: steps that are told and timed, containers, the account."""
