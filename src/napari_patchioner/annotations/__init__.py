"""The annotation record and its file formats, one file per format."""

from __future__ import annotations

from napari_patchioner.annotations.formats._formats import (
    FORMATS,
    Format,
    files_to_write,
    format_again,
    format_named,
    format_of,
    read_annotations,
    write_annotations,
)
from napari_patchioner.annotations.formats._head import Head, head_of
from napari_patchioner.annotations.formats._napari_csv import (
    format_napari_csv,
    read_napari_csv,
    write_napari_csv,
)
from napari_patchioner.annotations.formats._tidy_csv import (
    format_tidy_csv,
    read_tidy_csv,
    write_tidy_csv,
)
from napari_patchioner.annotations.project._project import Project, ProjectImage, ProjectRecord
from napari_patchioner.annotations.project._project_file import (
    NewerVersion,
    ProjectTaken,
    projects_folder,
    read_head,
    read_project,
    write_project,
)
from napari_patchioner.annotations.project._project_lines import ProjectLines
from napari_patchioner.annotations.project._project_places import (
    find_projects,
    project_path,
    remember_project,
    spare_path,
    strange_project,
)
from napari_patchioner.annotations.project._project_shelf import CopyProject, ProjectShelf

from ._annotation import KINDS, Annotation, Source, new_uid
from ._captioned import with_human_caption, with_model_caption
from ._carried import annotation_from, carried, unique
from ._content_hash import content_hash
from ._file_names import short_name
from ._images import ImageInfo, Images, is_image, is_numbered
from ._metadata import forget_files, source_format, stated_size
from ._napari_shape import region_from_shape, shape_from_region
from ._notes import Notes, leaving_out, note, noting
from ._plane import axes_drawn_along, fitted, other_axes
from ._region_text import region_from_text, region_to_text
from ._table import encode_text, write_bytes
from ._wkt import region_from_wkt, region_to_wkt

__all__ = [
    "FORMATS",
    "KINDS",
    "Annotation",
    "CopyProject",
    "Format",
    "Head",
    "ImageInfo",
    "Images",
    "NewerVersion",
    "Notes",
    "Project",
    "ProjectImage",
    "ProjectLines",
    "ProjectRecord",
    "ProjectShelf",
    "ProjectTaken",
    "Source",
    "annotation_from",
    "axes_drawn_along",
    "carried",
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
    "project_path",
    "projects_folder",
    "read_annotations",
    "read_head",
    "read_napari_csv",
    "read_project",
    "read_tidy_csv",
    "region_from_shape",
    "region_from_text",
    "region_from_wkt",
    "region_to_text",
    "region_to_wkt",
    "remember_project",
    "shape_from_region",
    "short_name",
    "source_format",
    "spare_path",
    "stated_size",
    "strange_project",
    "unique",
    "with_human_caption",
    "with_model_caption",
    "write_annotations",
    "write_bytes",
    "write_napari_csv",
    "write_project",
    "write_tidy_csv",
]
