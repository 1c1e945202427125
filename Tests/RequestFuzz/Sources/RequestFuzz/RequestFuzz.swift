import CLibFuzzer
import Foundation

/// Runs libFuzzer to find bytes that the server's reader and llhttp parse differently.
///
/// Run it with `make fuzz`. A difference ends the process, and libFuzzer keeps the input.
@main
enum RequestFuzz {
    static func main() {
        var argumentCount = CommandLine.argc
        // libFuzzer expects an array of pointers that ends with nil.
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        let status = LLVMFuzzerRunDriver(&argumentCount, &arguments) { start, count in
            let bytes = Array(UnsafeBufferPointer(start: start, count: count))
            if let difference = RequestOracle.difference(on: bytes) {
                FileHandle.standardError.write(Data("difference: \(difference)\n".utf8))
                preconditionFailure("the reader and llhttp differ")
            }
            return 0
        }
        precondition(status == 0, "libFuzzer ended with \(status)")
    }
}
