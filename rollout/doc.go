// Package rollout decides which definitions each Envoy gets now: a change goes as
// far as it has proved itself.
//
// Start with [Machine]. It is a plain value, as those of xds/swap are: events go in
// through [Machine.Step], what is to be done comes out. Package driver runs it.
//
//   - A change is all that one settled read made different, of filters, modules,
//     listeners and raw resources alike, added, changed or removed.
//   - The base is what is in force everywhere. What the files say is the base with
//     all open changes, but for what was rolled back.
//   - A change goes from wave to wave, as the Rollout that is for it says, and then
//     joins the base. Without one it joins the base at once.
//   - Envoys stand in one order, by a hash of their ids, so waves are nested, and
//     the same on every server that knows what is written down. Who comes takes the
//     place of its hash.
//   - An Envoy has a [Choice] of the open changes: those whose waves have reached
//     it, as far as they compile together. A [Plan] has the set of each choice.
//
// A wave is good when all of its Envoys that are connected, and were there when it
// began, run the change, for as long as the policy says, nothing has stopped it,
// and each judge has found it good. What stops a change takes it from all that have
// it; it begins again when the files say something else, or somebody says so.
//
// What must hold is in invariants.go, by number. The scripts in testdata/ show each
// case.
package rollout
