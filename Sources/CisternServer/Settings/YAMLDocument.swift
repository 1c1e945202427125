internal import Yams

/// A YAML file parsed into nodes with line numbers, so that errors can name the line.
struct YAMLDocument {
    /// The file's path, as given.
    let path: String
    /// The top-level mapping; nil for an empty file.
    let root: Node?

    /// Parses the text of a file.
    ///
    /// - Throws: `SettingsError` with the line if the text is not YAML, repeats a key, or is not a mapping.
    init(path: String, text: String) throws(SettingsError) {
        self.path = path
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw Self.error(for: error, path: path)
        }
        if let root, root.mapping == nil, root.null == nil {
            throw SettingsError("\(path):\(root.mark?.line ?? 1): expected 'name: value' lines")
        }
    }

    /// An error at a node, with file, line and reason.
    func error(at node: Node, _ text: String) -> SettingsError {
        SettingsError("\(path):\(node.mark?.line ?? 1): \(text)")
    }

    /// The entries of the top-level mapping, in the file's order.
    var entries: [(key: Node, value: Node)] {
        root?.mapping.map { mapping in mapping.map { (key: $0.key, value: $0.value) } } ?? []
    }

    private static func error(for error: any Error, path: String) -> SettingsError {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            SettingsError("\(path):\(mark.line): not valid YAML: \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            SettingsError(
                "\(path):\(context.mark.line): \(duplicates.joined(separator: ", ")) appears twice: keep one")
        default: SettingsError("\(path): not valid YAML: \(error)")
        }
    }
}
