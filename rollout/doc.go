// Package rollout decides which definitions each Envoy gets now: a change goes
// as far as it has proved itself.
//
// A change is all that one settled read made different, of filters, modules,
// listeners and raw resources alike. The base is what is in force everywhere. A
// change goes from wave to wave, as its policy has them, and then joins the
// base; what goes wrong stops it, and who had it gets the base again.
package rollout
