"""What files are that no reader here is for, by how they begin; and what to do with them."""

from dlkit.bench.errors import UserError

__all__ = ["require_known"]

GIVE = "and give the frame"
BEGINNINGS = {
    b"ORC": f"an ORC file; read it with pandas.read_orc {GIVE}",
    b"SQLite format 3": f"an SQLite database; read it with pandas.read_sql {GIVE}",
    b"$FL": f"an SPSS file; read it with pandas.read_spss {GIVE}",
    b"\0" * 12 + b"\xc2\xea\x81\x60": f"a SAS file; read it with pandas.read_sas {GIVE}",
    b"HEADER RECORD*": f"a SAS transport file; read it with pandas.read_sas {GIVE}",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it, and name the file",
    b"7z\xbc\xaf": "packed by 7-Zip; unpack it, and name the file or folder",
    b"Rar!": "packed by RAR; unpack it, and name the file or folder",
    b"\x93NUMPY": "an .npy file that is packed; unpack it, and name the file",
    b"\x89HDF": "an HDF5 file that is packed; unpack it, and name the file",
    b"PK\x03\x04": "a zip file under another name; unpack it, and name the file or folder",
    b"%PDF": "a PDF, no data; get a table",
    b"version https://git-lfs": "a note of Git LFS in place of the file; fetch it: git lfs pull",
}
PAGES = (b"<!doctype html", b"<html")


def require_known(data: bytes, where: str) -> None:
    """Refuses what begins as a form that is not read here, or as no data at all.

    Args:
        data: the file, unpacked.
        where: its path, for messages.

    Raises:
        UserError: that says what the file is, and what to do.
    """
    kind = next((said for start, said in BEGINNINGS.items() if data.startswith(start)), "")
    if data[257:262] == b"ustar":
        kind = "an archive of files (tar); unpack it, and name the file or folder"
    if data[:200].lstrip().lower().startswith(PAGES):
        kind = "a web page, no data, as servers send in place of a file; get the file again"
    if kind:
        raise UserError(f"{where}: is {kind}")
