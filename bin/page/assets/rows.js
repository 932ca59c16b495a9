// The rows of one table as its stream tells them: always exactly those of one commit.


const FADE_MS = 1600;

/** See the file's head. */
export class Rows {
  constructor(columns) {
    this.columns = columns;
    this.keys = columns.filter((column) => column.key).map((column) => column.name);
    this.clear();
  }

  clear() {
    this.byId = new Map();
    this.commit = null;
    /** Changes of any kind. */
    this.version = 0;
    /** Rows that came or went. */
    this.shape = 0;
    /** Snapshots. */
    this.whole = 0;
    this.changed = new Map();
  }

  /** The key of a row as a text. */
  id(row) {
    return this.keys.length === 1 ? String(row[this.keys[0]]) : this.keys.map((key) => String(row[key])).join("\u0000");
  }

  /** The rows as they are at a commit. */
  replace(rows, commit) {
    this.byId = new Map(rows.map((row) => [this.id(row), row]));
    this.changed.clear();
    this.commit = commit;
    this.version += 1;
    this.shape += 1;
    this.whole += 1;
  }

  /** The net changes of a commit. */
  apply(changes, commit) {
    const now = Date.now();
    for (const [id, mark] of this.changed) if (now - mark.at > FADE_MS) this.changed.delete(id);
    for (const row of changes.delete) {
      this.byId.delete(this.id(row));
      this.changed.delete(this.id(row));
    }
    for (const { old, new: row } of changes.update) {
      const [before, id] = [this.id(old), this.id(row)];
      if (before !== id) {
        this.byId.delete(before);
        this.shape += 1;
      }
      this.byId.set(id, row);
      const columns = this.columns.map((column) => column.name).filter((name) => row[name] !== old[name]);
      this.changed.set(id, { at: now, columns: new Set(columns) });
    }
    for (const row of changes.insert) {
      const id = this.id(row);
      this.byId.set(id, row);
      this.changed.set(id, { at: now, columns: null });
    }
    if (changes.insert.length + changes.delete.length > 0) this.shape += 1;
    if (changes.insert.length + changes.delete.length + changes.update.length > 0) this.version += 1;
    this.commit = commit;
  }

  /** How many milliseconds ago a cell changed, if it is still to be seen. */
  changedAgo(id, column) {
    const mark = this.changed.get(id);
    if (!mark || (mark.columns && !mark.columns.has(column))) return null;
    const ago = Date.now() - mark.at;
    return ago < FADE_MS ? ago : null;
  }
}
