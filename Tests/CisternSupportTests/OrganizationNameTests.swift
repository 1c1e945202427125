import Testing

@testable import Cistern
@testable import CisternSupport

@Suite("Names of organizations and users")
struct OrganizationNameTests {
    private static let allowed = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-".utf8)

    @Test("a name accepts only letters, digits and ._:@- at every position, for every length")
    func characters() {
        for count in 1...128 {
            var name = [UInt8](repeating: 0x61, count: count)
            let isValid = OrganizationName.isValid(name.span)
            #expect(isValid, "\(count) letters")
            for position in Set([0, 1, 6, 7, 8, 9, count / 2, count - 9, count - 8, count - 7, count - 1])
            where name.indices.contains(position) {
                for byte in UInt8.min ... .max {
                    name[position] = byte
                    let isRight = OrganizationName.isValid(name.span) == Self.allowed.contains(byte)
                    #expect(isRight, "byte \(byte) at \(position) of \(count)")
                }
                name[position] = 0x61
            }
        }
    }

    @Test("a name has 1 to 128 bytes")
    func lengths() {
        #expect(!OrganizationName.isValid(""))
        #expect(OrganizationName.isValid(String(repeating: "a", count: 128)))
        #expect(!OrganizationName.isValid(String(repeating: "a", count: 129)))
    }
}
