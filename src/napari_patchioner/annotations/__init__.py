"""The annotation record and its file formats, one file per format."""

from __future__ import annotations

from napari_patchioner.annotations.formats.head import Format, Head, head_of
from napari_patchioner.annotations.formats.napari_csv import (
    format_napari_csv,
    read_napari_csv,
    write_napari_csv,
)
from napari_patchioner.annotations.formats.registry import (
    FORMATS,
    files_to_write,
    format_again,
    format_named,
    format_of,
    read_annotations,
    write_annotations,
)
from napari_patchioner.annotations.formats.tidy_csv import (
    format_tidy_csv,
    read_tidy_csv,
    write_tidy_csv,
)
from napari_patchioner.annotations.project.file import (
    NewerVersion,
    ProjectLines,
    ProjectTaken,
    projects_folder,
    read_head,
    read_project,
    write_project,
)
from napari_patchioner.annotations.project.places import (
    find_projects,
    project_of_other_pixels,
    project_path,
)
from napari_patchioner.annotations.project.records import (
    Plane,
    Project,
    ProjectImage,
    Record,
    Seen,
)
from napari_patchioner.annotations.project.store import CopyProject, ProjectStore

from .files import encode_text, short_name, write_bytes
from .images import ImageInfo, Images, content_hash, is_image, is_numbered
from .metadata import forget_files, source_format, stated_size
from .napari_shapes import (
    axes_drawn_along,
    fitted,
    other_axes,
    region_from_shape,
    shape_from_region,
)
from .notes import Notes, leaving_out, note, noting
from .record import (
    KINDS,
    MACHINES,
    SOURCES,
    Annotation,
    Source,
    new_uid,
    with_human_caption,
    with_model_caption,
)
from .texts import with_unique_uids
from .wkt import region_from_text, region_to_text

__all__ = [
    "FORMATS",
    "KINDS",
    "MACHINES",
    "SOURCES",
    "Annotation",
    "CopyProject",
    "Format",
    "Head",
    "ImageInfo",
    "Images",
    "NewerVersion",
    "Notes",
    "Plane",
    "Project",
    "ProjectImage",
    "ProjectLines",
    "ProjectStore",
    "ProjectTaken",
    "Record",
    "Seen",
    "Source",
    "axes_drawn_along",
    "content_hash",
    "encode_text",
    "files_to_write",
    "find_projects",
    "fitted",
    "forget_files",
    "format_again",
    "format_named",
    "format_napari_csv",
    "format_of",
    "format_tidy_csv",
    "head_of",
    "is_image",
    "is_numbered",
    "leaving_out",
    "new_uid",
    "note",
    "noting",
    "other_axes",
    "project_of_other_pixels",
    "project_path",
    "projects_folder",
    "read_annotations",
    "read_head",
    "read_napari_csv",
    "read_project",
    "read_tidy_csv",
    "region_from_shape",
    "region_from_text",
    "region_to_text",
    "shape_from_region",
    "short_name",
    "source_format",
    "stated_size",
    "with_human_caption",
    "with_model_caption",
    "with_unique_uids",
    "write_annotations",
    "write_bytes",
    "write_napari_csv",
    "write_project",
    "write_tidy_csv",
]
