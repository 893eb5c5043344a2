//! A filter that does what a request's header x-do says, without end:
//! rustc --target wasm32-wasip1 --crate-type cdylib -C opt-level=s -C panic=abort -C strip=symbols hostile.rs
#![no_std]
#![allow(clippy::missing_safety_doc)]

use core::ptr::addr_of_mut;

#[link(wasm_import_module = "env")]
extern "C" {
    fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
    fn proxy_get_header_map_value(map: u32, name: *const u8, size: usize, value: *mut *const u8, length: *mut usize) -> u32;
    fn proxy_add_header_map_value(map: u32, name: *const u8, size: usize, value: *const u8, length: usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, name: *const u8, size: usize, value: *const u8, length: usize) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: u32, length: u32, data: *const u8, size: usize) -> u32;
    fn proxy_http_call(cluster: *const u8, size: usize, headers: *const u8, length: usize, body: *const u8, body_size: usize, trailers: *const u8, trailers_size: usize, timeout: u32, token: *mut u32) -> u32;
    fn proxy_continue_stream(side: u32) -> u32;
    fn proxy_send_local_response(code: u32, details: *const u8, size: usize, body: *const u8, body_size: usize, headers: *const u8, headers_size: usize, grpc: u32) -> u32;
    fn proxy_register_shared_queue(name: *const u8, size: usize, token: *mut u32) -> u32;
    fn proxy_enqueue_shared_queue(token: u32, data: *const u8, size: usize) -> u32;
    fn proxy_set_shared_data(key: *const u8, size: usize, value: *const u8, length: usize, cas: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_set_property(path: *const u8, size: usize, value: *const u8, length: usize) -> u32;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

static mut SPACE: [u8; 1 << 16] = [0; 1 << 16];
static mut USED: usize = 0;

#[no_mangle]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// What the host hands over is small, and of one request at a time.
#[no_mangle]
pub unsafe extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    if USED + size > 1 << 15 {
        USED = 0;
    }
    let at = (addr_of_mut!(SPACE) as *mut u8).add(USED);
    USED += size;
    at
}

#[no_mangle]
pub extern "C" fn proxy_on_context_create(_: u32, _: u32) {}

#[no_mangle]
pub extern "C" fn proxy_on_vm_start(_: u32, _: u32) -> u32 {
    1
}

#[no_mangle]
pub unsafe extern "C" fn proxy_on_configure(_: u32, _: u32) -> u32 {
    (addr_of_mut!(SPACE) as *mut u8).write_bytes(b'x', 1 << 16);
    1
}

static mut DO: u8 = 0;

#[no_mangle]
pub unsafe extern "C" fn proxy_on_request_headers(_: u32, _: u32, _: u32) -> u32 {
    let (mut value, mut length) = (core::ptr::null(), 0usize);
    DO = 0;
    if proxy_get_header_map_value(0, b"x-do".as_ptr(), 4, &mut value, &mut length) == 0 && length > 0 {
        DO = *value;
    }
    go(DO)
}

#[no_mangle]
pub unsafe extern "C" fn proxy_on_request_body(_: u32, _: u32, _: u32) -> u32 {
    let large = addr_of_mut!(SPACE) as *const u8;
    while DO == b'b' {
        proxy_set_buffer_bytes(0, u32::MAX, 0, large, 1 << 16);
    }
    0
}

const CALL: &[u8] = b"\x03\0\0\0\x07\0\0\0\x03\0\0\0\x05\0\0\0\x01\0\0\0\x0a\0\0\0\x01\0\0\0:method\0GET\0:path\0/\0:authority\0a\0";

unsafe fn go(what: u8) -> u32 {
    let large = addr_of_mut!(SPACE) as *const u8;
    let mut number = 0u32;
    let mut token = 0u32;
    if what == b'q' {
        proxy_register_shared_queue(b"q".as_ptr(), 1, &mut token);
    }
    loop {
        number += 1;
        let name = number.to_le_bytes();
        match what {
            b'l' => proxy_log(3, large, 1000),
            b'L' => proxy_log(3, large, 1 << 16),
            b'h' => proxy_add_header_map_value(0, b"x-a".as_ptr(), 3, name.as_ptr(), 4),
            b'H' => proxy_add_header_map_value(0, b"accept".as_ptr(), 6, large, 1 << 16),
            b'r' => proxy_replace_header_map_value(0, b"x-a".as_ptr(), 3, large, 1 << 16),
            b'c' => proxy_http_call(b"up".as_ptr(), 2, CALL.as_ptr(), CALL.len(), large, 100, large, 0, 1000, &mut token),
            b'k' => proxy_continue_stream(0),
            b's' => proxy_send_local_response(200, large, 0, large, 1 << 16, large, 0, u32::MAX),
            b'q' => proxy_enqueue_shared_queue(token, large, 0),
            b'w' => proxy_set_shared_data(name.as_ptr(), 4, large, 1 << 16, 0),
            b'd' => proxy_define_metric(0, name.as_ptr(), 4, &mut token),
            b'p' => proxy_set_property(name.as_ptr(), 4, large, 1 << 16),
            b'm' => {
                if core::arch::wasm32::memory_grow(0, 16) == usize::MAX {
                    core::arch::wasm32::unreachable()
                }
                let end = core::arch::wasm32::memory_size(0) << 16;
                ((end - 16 * 65536) as *mut u8).write_bytes(1, 16 * 65536);
                0
            }
            b'R' => deep(number),
            b'i' => core::hint::black_box(0),
            _ => return 0,
        };
    }
}

#[inline(never)]
#[allow(unconditional_recursion)]
fn deep(n: u32) -> u32 {
    core::hint::black_box(deep(n + 1) + n)
}
