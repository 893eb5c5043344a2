// Package rollout decides which definitions each Envoy gets now: a change goes only as far
// as it has proved itself.
//
// Start with [Machine]. It is a plain value, like those of xds/swap: events go in through
// [Machine.Step], and actions come out. Package driver runs it.
//
//   - A change is everything that one read of the definitions found different: filters, modules,
//     listeners and raw resources that were added, changed or removed.
//   - The base is the definitions that are in force on all Envoys. The desired state is the base
//     with all open changes, except for definitions that were rolled back.
//   - A change goes from wave to wave, as its Rollout says, and then joins the base. Without a
//     Rollout it joins the base at once.
//   - Envoys are ordered by a hash of their IDs. Waves are therefore nested, and the same on every
//     replica that has read the saved state. A new Envoy takes the place of its hash.
//   - An Envoy has a [Choice] of the open changes: those whose waves have reached it, as far as
//     they compile together. A [Plan] has the set of each choice.
//
// A wave is good when all of its Envoys that are connected, and were there when it began,
// have run the change for as long as the policy says, nothing has stopped it, and each
// judge has found it good. Stopping a change takes it from all Envoys that have it. It
// starts again when the desired state changes, or when somebody resumes it.
//
// The invariants are in invariants.go, by number. The scripts in testdata/ show each case.
package rollout
