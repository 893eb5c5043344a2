//go:build !unix

package h2

// Without nonblocking calls, a goroutine writes, and await reads one byte ahead.
const canTry = false

func tryWrite(uintptr, [][]byte) (int, error)    { panic("not reached") }
func tryRead(uintptr, []byte) (int, bool, error) { panic("not reached") }
