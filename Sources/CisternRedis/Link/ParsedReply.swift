internal import CHiredis

/// The values of one reply as hiredis parses them, in one flat list: an array precedes its elements.
struct ParsedReply: ~Copyable {
    private struct ParsedValue {
        /// The hiredis type code.
        let type: Int32
        /// The integer itself, the element count of an array, or the byte count of a string.
        let number: Int64
        /// Where a string begins in `texts`.
        let start: Int
    }

    /// The capacity to keep for the next reply, in values and in bytes.
    private static let keptCapacity = 1 << 14

    private var values: [ParsedValue] = []
    private var texts: [UInt8] = []

    /// Removes all values, ready for the next reply.
    mutating func clear() {
        values.removeAll(keepingCapacity: values.capacity <= Self.keptCapacity)
        texts.removeAll(keepingCapacity: texts.capacity <= Self.keptCapacity)
    }

    /// The maximum nesting depth of arrays; replies to this client use two levels.
    private static let deepestNesting = 8

    /// Builds the complete reply.
    ///
    /// - Throws: `RESPReader.ProtocolError` if it contains types outside RESP2 or is nested too deeply.
    func reply() throws(RESPReader.ProtocolError) -> RESPReply {
        if let numbers { return .numbers(numbers) }
        var position = 0
        return .value(try value(at: &position, depth: 0))
    }

    private var numbers: RESPReply.Numbers? {
        var numbers = RESPReply.Numbers(repeating: 0)
        guard values.count == numbers.count + 1, values[0].type == REDIS_REPLY_ARRAY, values[0].number == numbers.count
        else { return nil }
        for index in numbers.indices {
            guard values[index + 1].type == REDIS_REPLY_INTEGER else { return nil }
            numbers[index] = values[index + 1].number
        }
        return numbers
    }

    private func value(at position: inout Int, depth: Int) throws(RESPReader.ProtocolError) -> RESPValue {
        guard position < values.count, depth <= Self.deepestNesting else {
            throw RESPReader.ProtocolError(description: "a reply that is not valid RESP2")
        }
        let note = values[position]
        position += 1
        switch note.type {
        case REDIS_REPLY_INTEGER: return .integer(note.number)
        case REDIS_REPLY_STRING, REDIS_REPLY_STATUS: return .string(Array(text(of: note)))
        case REDIS_REPLY_ERROR: return .error(String(decoding: text(of: note), as: UTF8.self))
        case REDIS_REPLY_ARRAY:
            var values: [RESPValue] = []
            for _ in 0..<max(0, note.number) { values.append(try value(at: &position, depth: depth + 1)) }
            return .array(values)
        case REDIS_REPLY_NIL: return .null
        default: throw RESPReader.ProtocolError(description: "a reply of a type outside RESP2")
        }
    }

    private func text(of note: ParsedValue) -> ArraySlice<UInt8> {
        texts[note.start..<note.start + Int(note.number)]
    }

    // MARK: hiredis callbacks

    /// The hiredis callbacks, which record values here instead of allocating reply objects.
    ///
    /// hiredis requires a non-null pointer for each object and never dereferences it. Later versions of hiredis have
    /// more callbacks, for types outside RESP2.
    static var functions: redisReplyObjectFunctions {
        var functions = redisReplyObjectFunctions()
        functions.createString = { task, bytes, count in
            ParsedReply.of(task) { values, type in
                let start = values.texts.count
                values.texts.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: Int(count)))
                values.values.append(ParsedValue(type: type, number: Int64(count), start: start))
            }
        }
        functions.createArray = { task, count in
            ParsedReply.of(task) { values, type in
                values.values.append(ParsedValue(type: type, number: Int64(count), start: 0))
            }
        }
        functions.createInteger = { task, number in
            ParsedReply.of(task) { values, type in
                values.values.append(ParsedValue(type: type, number: number, start: 0))
            }
        }
        functions.createNil = { task in
            ParsedReply.of(task) { values, type in
                values.values.append(ParsedValue(type: REDIS_REPLY_NIL, number: 0, start: 0))
            }
        }
        functions.freeObject = { _ in }
        return functions
    }

    /// Appends to the `ParsedReply` that a hiredis reader carries as its private data.
    private static func of(
        _ task: UnsafePointer<redisReadTask>?, _ add: (inout ParsedReply, _ type: Int32) -> Void
    ) -> UnsafeMutableRawPointer? {
        guard let task, let values = task.pointee.privdata else { return nil }
        add(&values.assumingMemoryBound(to: ParsedReply.self).pointee, task.pointee.type)
        return values
    }
}
