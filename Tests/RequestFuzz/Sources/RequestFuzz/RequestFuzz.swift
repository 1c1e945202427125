import CLibFuzzer
import Foundation

/// Has libFuzzer look for bytes that the server's reader and llhttp understand differently.
///
/// Run it by `make fuzz`. A difference ends the process, and libFuzzer keeps the input.
@main
enum RequestFuzz {
    static func main() {
        var argumentCount = CommandLine.argc
        // libFuzzer asks for an array of pointers that are none of them nil but the last.
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        let status = LLVMFuzzerRunDriver(&argumentCount, &arguments) { start, count in
            let bytes = Array(UnsafeBufferPointer(start: start, count: count))
            if let difference = RequestOracle.difference(on: bytes) {
                FileHandle.standardError.write(Data("difference: \(difference)\n".utf8))
                preconditionFailure("the two differ")
            }
            return 0
        }
        precondition(status == 0, "libFuzzer ended with \(status)")
    }
}
